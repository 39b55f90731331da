/* `__build_class__` for classes that add nothing but plain attributes to their one base, as nearly all of ours do.
 *
 * Of what type() does, two thirds are the search for each of ninety special methods in all the class's bases. Where
 * the class has none of its own, what was found for the base holds for it too, and is copied. Any other class is
 * made by type(). The layout is CPython 3.11's; launchers of others do without this. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>

extern PyDictKeysObject *_PyDict_NewKeysForClass(void);

/* No slots, no metaclass, and instances with a dictionary. */
static int is_plain_base(PyObject *object)
{
    PyTypeObject *base = (PyTypeObject *)object;

    return Py_IS_TYPE(object, &PyType_Type) && (base->tp_flags & Py_TPFLAGS_HEAPTYPE)
        && (base->tp_flags & Py_TPFLAGS_BASETYPE) && (base->tp_flags & Py_TPFLAGS_MANAGED_DICT)
        && Py_SIZE(base) == 0 && !base->tp_vectorcall && !((PyHeapTypeObject *)base)->ht_slots;
}

/* 1: no attribute that means something to type(), or wants to be told of its name. -1: an error. */
static int is_plain_body(PyObject *space)
{
    static const char *const harmless[] = {"__module__", "__qualname__", "__annotations__", "__doc__"};
    PyObject *key, *value, *teller = PyUnicode_InternFromString("__set_name__");
    Py_ssize_t at = 0;
    const char *name;
    int is_harmless;

    if (!teller)
        return -1;
    while (PyDict_Next(space, &at, &key, &value)) {
        if (!(name = PyUnicode_AsUTF8(key)))
            return -1;
        is_harmless = strncmp(name, "__", 2) != 0;
        for (size_t i = 0; !is_harmless && i < sizeof harmless / sizeof harmless[0]; i++)
            is_harmless = strcmp(name, harmless[i]) == 0;
        if (!is_harmless || _PyType_Lookup(Py_TYPE(value), teller))
            return 0;
    }
    return 1;
}

/* The base learns of it, for what changes there counts here. */
static int add_subclass(PyTypeObject *base, PyTypeObject *type)
{
    PyObject *key = PyLong_FromVoidPtr(type), *reference = PyWeakref_NewRef((PyObject *)type, NULL);
    int failed = 1;

    if (!base->tp_subclasses)
        base->tp_subclasses = PyDict_New();
    if (key && reference && base->tp_subclasses)
        failed = PyDict_SetItem(base->tp_subclasses, key, reference);
    Py_XDECREF(key);
    Py_XDECREF(reference);
    return failed;
}

static PyObject *order(PyTypeObject *type, PyTypeObject *base)
{
    Py_ssize_t count = PyTuple_GET_SIZE(base->tp_mro);
    PyObject *order = PyTuple_New(count + 1);

    if (!order)
        return NULL;
    PyTuple_SET_ITEM(order, 0, Py_NewRef(type));
    for (Py_ssize_t i = 0; i < count; i++)
        PyTuple_SET_ITEM(order, i + 1, Py_NewRef(PyTuple_GET_ITEM(base->tp_mro, i)));
    return order;
}

/* A type like `base`, with its own name and `space`. Takes over the reference to `space`. */
static PyTypeObject *copy_type(PyObject *name, PyTypeObject *base, PyObject *space)
{
    const size_t head = offsetof(PyTypeObject, tp_name);
    PyHeapTypeObject *heap = (PyHeapTypeObject *)PyType_Type.tp_alloc(&PyType_Type, 0);
    PyTypeObject *type = (PyTypeObject *)heap;
    PyObject *qualified = PyDict_GetItemString(space, "__qualname__");

    if (!heap)
        return NULL;
    memcpy((char *)heap + head, (char *)base + head, sizeof *heap - head);
    type->tp_flags &= ~(Py_TPFLAGS_VALID_VERSION_TAG | Py_TPFLAGS_IS_ABSTRACT);
    type->tp_version_tag = 0;
    type->tp_doc = NULL;
    type->tp_methods = NULL;
    type->tp_members = NULL;
    type->tp_getset = NULL;
    type->tp_cache = type->tp_subclasses = type->tp_weaklist = NULL;
    type->tp_as_async = &heap->as_async;
    type->tp_as_number = &heap->as_number;
    type->tp_as_mapping = &heap->as_mapping;
    type->tp_as_sequence = &heap->as_sequence;
    type->tp_as_buffer = &heap->as_buffer;
    memset(&heap->_spec_cache, 0, sizeof heap->_spec_cache);
    heap->ht_module = NULL;
    heap->_ht_tpname = NULL;
    heap->ht_name = Py_NewRef(name);
    heap->ht_qualname = Py_NewRef(qualified ? qualified : name);
    heap->ht_cached_keys = _PyDict_NewKeysForClass();
    type->tp_name = PyUnicode_AsUTF8(name);
    type->tp_base = (PyTypeObject *)Py_NewRef(base);
    type->tp_bases = PyTuple_Pack(1, base);
    type->tp_mro = order(type, base);
    type->tp_dict = space;
    return type;
}

static PyObject *derive(PyObject *name, PyTypeObject *base, PyObject *space)
{
    PyTypeObject *type = copy_type(name, base, Py_NewRef(space));
    PyObject *super, *told = NULL;

    if (!type || !type->tp_name || !type->tp_bases || !type->tp_mro || !((PyHeapTypeObject *)type)->ht_cached_keys
        || (PyDict_GetItemString(space, "__qualname__") && PyDict_DelItemString(space, "__qualname__") < 0)
        || !PyDict_SetDefault(space, PyUnicode_InternFromString("__doc__"), Py_None) || add_subclass(base, type))
        return NULL;
    if ((super = PyObject_CallFunctionObjArgs((PyObject *)&PySuper_Type, type, type, NULL)))
        told = PyObject_CallMethod(super, "__init_subclass__", NULL);
    Py_XDECREF(super);
    Py_XDECREF(told);
    return told ? (PyObject *)type : NULL;
}

/* __build_class__(body, name, *bases, **keywords) */
PyObject *build_class(PyObject *ordinary, PyObject *const *given, Py_ssize_t count, PyObject *keywords)
{
    PyObject *space, *cell, *body = given[0], *type = NULL;
    int is_plain;

    if (count != 3 || keywords || !is_plain_base(given[2]))
        return PyObject_Vectorcall(ordinary, given, (size_t)count, keywords);
    if (!(space = PyDict_New()))
        return NULL;
    cell = PyEval_EvalCodeEx(
        PyFunction_GET_CODE(body), PyFunction_GET_GLOBALS(body), space, NULL, 0, NULL, 0, NULL, 0, NULL,
        PyFunction_GET_CLOSURE(body)
    );
    if (cell && (is_plain = is_plain_body(space)) >= 0)
        type = is_plain
            ? derive(given[1], (PyTypeObject *)given[2], space)
            : PyObject_CallFunction((PyObject *)&PyType_Type, "O(O)O", given[1], given[2], space);
    Py_XDECREF(cell);
    Py_DECREF(space);
    return type;
}
