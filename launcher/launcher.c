/* pyrunc's launcher: an interpreter that carries the runtime's modules and starts only as far as they need.
 *
 * An ordinary interpreter spends most of its start on what no call of ours uses: a search path, importlib, codecs,
 * streams. Core initialisation (PyConfig._init_main = 0, _install_importlib = 0) stops before all that. There are
 * built-in modules and frozen ones, which `import_module` knows, and names are UTF-8. Whatever needs more is done
 * by the ordinary interpreter: it is executed in our place, with the same words, when a module is asked for that
 * isn't here. The runtime asks for such before it has done anything, or not at all.
 *
 * It is two programs, by the name that it is called by: pyrunc, and containerd's shim.
 *
 * Built by build.py, for the interpreter whose static library is linked; CODE and SCRIPTS come from there. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <marshal.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

static char **words; /* argv */
static const struct program {
    const char *name, *module;
    char *script; /* the same by an ordinary interpreter */
} programs[] = {
    {"pyrunc", "pyrunc.cli.main", SCRIPTS "/pyrunc"},
    {"containerd-shim-pyrunc-v2", "pyrunc.shim.containerd.main", SCRIPTS "/containerd-shim-pyrunc-v2"},
}, *program = programs;
static pid_t begun_as; /* a fork has other work than these words */
static int is_brief;   /* no shim, which lives long and is to be small */
extern int native_has_forked(void);
enum { HUGE_BYTES = 2 << 20, FIRST_HEAP_BYTES = 132 << 10, HEAP_BYTES = 512 << 10, DATA_BYTES = 200 << 10 };

/* --- tables of modules ------------------------------------------------------------------------------------- */

#define LINKED(name, start) extern PyObject *start(void);
#include "linked.h"
#undef LINKED
#define LINKED(name, start) {name, start},
struct _inittab _PyImport_Inittab[] = {
#include "linked.h"
    {"builtins", NULL}, {"sys", NULL}, {NULL, NULL}, /* made by the start itself */
};

/* In place of the interpreter's own frozen modules, which would be linked in, and prepared at every start. */
static const struct _frozen nothing[1];
const struct _frozen *PyImport_FrozenModules = nothing;
const void *_PyImport_FrozenBootstrap = nothing, *_PyImport_FrozenStdlib = nothing;
const void *_PyImport_FrozenTest = nothing, *_PyImport_FrozenAliases = nothing;

#if PY_MINOR_VERSION == 12
uint32_t _Py_next_func_version = 1;
#endif

int _Py_Deepfreeze_Init(void)
{
    return 0;
}

void _Py_Deepfreeze_Fini(void)
{
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Each page that is written for the first time is a fault, of which a call has hundreds, and which takes ten times
 * what the page itself does: so those that will be are asked for together (Linux 5.14; earlier ones refuse). */
static void populate(const void *begin, const void *end)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)begin & -page;

    if (is_brief)
        madvise((void *)first, (uintptr_t)end - first, MADV_POPULATE_WRITE);
}

#ifdef STATIC_CODE
/* The modules' code is there with the program (deepfreeze.py), in groups of those that are used together. */
#include "objects.h"
#include "constants.h"
#define GROUP(section) extern char __start_##section[], __stop_##section[];
#include "groups.h"
#undef GROUP
#define GROUP(section) {__start_##section, __stop_##section, 0},
static struct group {
    const char *begin, *end;
    int is_populated;
} groups[] = {
#include "groups.h"
};
#define FROZEN(name, group, code) {name, &groups[group], code},
static const struct frozen {
    const char *name;
    struct group *group;
    PyObject *code;
} frozen[] = { /* in order of names */
#include "frozen.h"
};

static PyObject *find_code(const struct frozen *entry)
{
    if (!entry->group->is_populated++)
        populate(entry->group->begin, entry->group->end);
    return entry->code;
}
#else
/* The modules' code lies in groups, of those that are used together. */
#define GROUP(offset, size) {offset, size, NULL},
static struct group {
    Py_ssize_t offset, size;
    PyObject *codes;
} groups[] = {
#include "groups.h"
};
#define FROZEN(name, group, index) {name, &groups[group], index},
static const struct frozen {
    const char *name;
    struct group *group;
    Py_ssize_t index;
} frozen[] = { /* in order of names */
#include "frozen.h"
};
extern const char frozen_code[];
asm(".section .rodata\n.balign 16\nfrozen_code:\n.incbin \"" CODE "\"\n.previous");

static PyObject *find_code(const struct frozen *entry)
{
    struct group *group = entry->group;

    if (!group->codes)
        group->codes = PyMarshal_ReadObjectFromString(frozen_code + group->offset, group->size);
    return group->codes ? PyTuple_GET_ITEM(group->codes, entry->index) : NULL;
}
#endif

static int compare(const void *name, const void *entry)
{
    return strcmp(name, ((const struct frozen *)entry)->name);
}

static const struct frozen *find_frozen(const char *name)
{
    return bsearch(name, frozen, sizeof frozen / sizeof frozen[0], sizeof frozen[0], compare);
}

/* --- import ------------------------------------------------------------------------------------------------ */

static PyObject *import_module(const char *name);

/* KeyboardInterrupt, for those who have something to undo: they all know of signals. */
static int handle_interrupt(PyObject *module)
{
    struct sigaction now;
    PyObject *result;

    if (sigaction(SIGINT, NULL, &now) < 0 || now.sa_handler != SIG_DFL)
        return 0;
    result = PyObject_CallMethod(
        module, "signal", "iN", SIGINT, PyObject_GetAttrString(module, "default_int_handler")
    );
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* As importlib does it for modules with several phases; what it wants of a spec is a name. */
static PyObject *load_built_in(const struct _inittab *entry)
{
    PyObject *module = entry->initfunc(), *spec, *none, *named;
    PyModuleDef *definition = (PyModuleDef *)module;

    if (module && PyObject_TypeCheck(module, &PyModuleDef_Type)) {
        none = PyTuple_New(0);
        named = Py_BuildValue("{ss}", "name", entry->name);
        spec = PyObject_Call((PyObject *)Py_TYPE(PySys_GetObject("implementation")), none, named);
        module = spec ? PyModule_FromDefAndSpec(definition, spec) : NULL;
        if (!module || PyModule_ExecDef(module, definition) < 0)
            return NULL;
    }
    if (!module || PyDict_SetItemString(PyImport_GetModuleDict(), entry->name, module) < 0)
        return NULL;
    if (strcmp(entry->name, "_signal") == 0 && handle_interrupt(module) < 0)
        return NULL;
    return module;
}

/* Execute its code in a module that can be found already, below its package. */
static PyObject *load_frozen(const struct frozen *entry)
{
    const char *dot = strrchr(entry->name, '.');
    PyObject *code, *module, *globals, *parent = NULL, *result;
    char package[256];

    if (dot) {
        snprintf(package, sizeof package, "%.*s", (int)(dot - entry->name), entry->name);
        if (!(parent = import_module(package)))
            return NULL;
    }
    if (!(code = find_code(entry)) || !(module = PyImport_AddModule(entry->name)))
        return NULL;
    globals = PyModule_GetDict(module);
    if (PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) < 0
        || !(result = PyEval_EvalCode(code, globals, globals)))
        return NULL;
    Py_DECREF(result);
    if (parent && PyObject_SetAttrString(parent, dot + 1, module) < 0)
        return NULL;
    return module;
}

/* Returns a borrowed reference: sys.modules keeps what was imported, as long as we live. */
static PyObject *import_module(const char *name)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), name);
    const struct frozen *entry;

    if (module)
        return module;
    if ((entry = find_frozen(name)))
        return load_frozen(entry);
    for (const struct _inittab *built_in = _PyImport_Inittab; built_in->name; built_in++)
        if (built_in->initfunc && strcmp(built_in->name, name) == 0)
            return load_built_in(built_in);
    if (!native_has_forked() && getpid() == begun_as) {
        words[0] = program->script;
        execv(program->script, words);
        return PyErr_SetFromErrnoWithFilename(PyExc_OSError, program->script);
    }
    return PyErr_Format(PyExc_ModuleNotFoundError, "No module named '%s' in the launcher", name);
}

/* __import__(name, globals, locals, fromlist, level): in `from a import b`, b may be a module of package a. */
static PyObject *import(PyObject *self, PyObject *const *given, Py_ssize_t count, PyObject *keywords)
{
    PyObject *module = PyDict_GetItemWithError(PyImport_GetModuleDict(), given[0]), *wanted;
    PyObject *from = count > 3 ? given[3] : keywords ? given[count] : Py_None;
    const char *name = PyUnicode_AsUTF8(given[0]), *end;
    char inner[256];

    if (!module && (!name || !(module = import_module(name))))
        return NULL;
    if (!PyTuple_Check(from) && !PyList_Check(from)) { /* `import a.b` binds a */
        end = strchrnul(name, '.');
        snprintf(inner, sizeof inner, "%.*s", (int)(end - name), name);
        return *end ? Py_XNewRef(import_module(inner)) : Py_NewRef(module);
    }
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(from); i++) {
        wanted = PySequence_Fast_GET_ITEM(from, i);
        if (PyDict_Contains(PyModule_GetDict(module), wanted))
            continue;
        snprintf(inner, sizeof inner, "%s.%s", name, PyUnicode_AsUTF8(wanted));
        if (find_frozen(inner) && !import_module(inner))
            return NULL;
    }
    return Py_NewRef(module);
}

static PyMethodDef import_definition = {
    "__import__", (PyCFunction)(void (*)(void))import, METH_FASTCALL | METH_KEYWORDS
};

#ifdef STATIC_CODE
extern PyObject *build_class(PyObject *, PyObject *const *, Py_ssize_t, PyObject *); /* classes.c */
static PyMethodDef class_definition = {
    "__build_class__", (PyCFunction)(void (*)(void))build_class, METH_FASTCALL | METH_KEYWORDS
};

static int replace_build_class(void)
{
    PyObject *built_in = PyEval_GetBuiltins();
    PyObject *function = PyCFunction_New(&class_definition, PyDict_GetItemString(built_in, "__build_class__"));

    return function ? PyDict_SetItemString(built_in, "__build_class__", function) : -1;
}
#else
static int replace_build_class(void)
{
    return 0;
}
#endif

/* --- the start --------------------------------------------------------------------------------------------- */

extern int _PySignal_Init(int install_signal_handlers);

/* Arenas, of 1 MiB, come out of pages of 2 MiB where the kernel gives such to those who ask: one costs less than a
 * hundred small ones, and a fork and the end have less to walk through. */
static void *find_arena(void *context, size_t size)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    static char *next, *end;
    char *room;

    if (size < HUGE_BYTES / 2) /* a table of arenas, once */
        return malloc(size);
    if (size > (size_t)(end - next)) {
        room = mmap(NULL, 2 * HUGE_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (room == MAP_FAILED)
            return NULL;
        next = (char *)(((uintptr_t)room + HUGE_BYTES - 1) & -(uintptr_t)HUGE_BYTES);
        end = next + HUGE_BYTES;
        madvise(next, HUGE_BYTES, MADV_HUGEPAGE);
    }
    room = next;
    next += size;
    populate(room, next);
    return room;
}

/* The address space stays taken: whole arenas are given back by a long `run`, if ever. */
static void drop_arena(void *context, void *arena, size_t size)
{
    madvise(arena, size, MADV_DONTNEED);
}

/* The interpreter's own data, and as much of a heap as any call needs, which is never given back. What there is of
 * a heap when we begin is too small for `grown`, which therefore lies at the begin of what is added. */
static void prepare_memory(void)
{
    extern char __data_start[], __bss_start[], _end[];
    static const PyObjectArenaAllocator arenas = {NULL, find_arena, drop_arena};
    char *volatile grown; /* or the compiler does without */

    mallopt(M_TOP_PAD, HEAP_BYTES);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_MMAP_THRESHOLD, HEAP_BYTES);
    grown = malloc(FIRST_HEAP_BYTES);
    populate(grown, grown + HEAP_BYTES);
    free(grown);
    populate(__data_start, __data_start + DATA_BYTES);
    populate(__bss_start, _end);
    PyObject_SetArenaAllocator((PyObjectArenaAllocator *)&arenas);
}

static int start_interpreter(void)
{
    PyPreConfig before;
    PyConfig config;
    PyStatus status;

    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    if (program != programs) /* what the start has used and let go of is given back (malloc_trim) */
        before.allocator = PYMEM_ALLOCATOR_MALLOC;
    status = Py_PreInitialize(&before);
    if (PyStatus_Exception(status))
        return -1;
    PyConfig_InitIsolatedConfig(&config);
    config._init_main = 0;
    config._install_importlib = 0;
    config.install_signal_handlers = 0;
    status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status) || _PySignal_Init(0) < 0)
        return -1;
    PyGC_Disable(); /* a call leaves before its garbage is worth collecting */
    return 0;
}

/* What the runtime's code takes for granted, and core initialisation leaves out. */
static int furnish(int argc)
{
    PyObject *arguments = PyList_New(argc), *function = PyCFunction_New(&import_definition, NULL), *word;

    for (int i = 0; arguments && i < argc; i++) {
        if (!(word = PyUnicode_DecodeUTF8(words[i], (Py_ssize_t)strlen(words[i]), "surrogateescape")))
            return -1;
        PyList_SET_ITEM(arguments, i, word);
    }
    if (!arguments || !function || replace_build_class() < 0 || PySys_SetObject("argv", arguments) < 0)
        return -1;
    return PySys_SetObject("stdout", Py_None) < 0 || PySys_SetObject("path", PyList_New(0)) < 0
        || PySys_SetObject("meta_path", PyList_New(0)) < 0
        || PyDict_SetItemString(PyEval_GetBuiltins(), "__import__", function) < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
    const char *slash = argc ? strrchr(argv[0], '/') : NULL;
    PyObject *module;

    words = argv;
    begun_as = getpid();
    if (argc && strcmp(slash ? slash + 1 : argv[0], programs[1].name) == 0)
        program = &programs[1];
    is_brief = program == programs;
    for (int i = 1; i < argc; i++)
        is_brief &= strcmp(argv[i], "shim") != 0;
    if (is_brief)
        prepare_memory();
    signal(SIGPIPE, SIG_IGN); /* as an ordinary interpreter: what is written to nobody is an error, no signal */
    signal(SIGXFSZ, SIG_IGN);
    if (start_interpreter() == 0 && furnish(argc) == 0 && (module = import_module(program->module)))
        PyObject_CallMethod(module, "entry", NULL); /* leaves the process */
    if (PyErr_Occurred())
        PyErr_Print();
    static const char message[] = "pyrunc: the launcher could not run\n";
    return write(2, message, sizeof message - 1) < 0 ? 255 : 255;
}
