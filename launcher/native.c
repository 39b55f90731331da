/* `_pyrunc`: syscall(2) and the interpreter's fork hooks, for pyrunc/kernel/syscall.py. The launcher has no
 * `_ctypes`; pyrunc/kernel/foreign.py offers the same to the ordinary interpreter. The GIL is held across a
 * call: the runtime has one thread, and clone3 needs it. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <unistd.h>

static int last_errno;
static int has_forked;

/* For import: a call that has made a process cannot be begun anew. */
int native_has_forked(void)
{
    return has_forked;
}

/* A number (negative ones too), the address of bytes or of a buffer, or None. */
static int to_word(PyObject *object, long *word)
{
    if (PyLong_Check(object)) {
        *word = (long)PyLong_AsUnsignedLongMask(object);
        return *word == -1 && PyErr_Occurred() ? -1 : 0;
    }
    if (PyBytes_Check(object))
        *word = (long)PyBytes_AS_STRING(object);
    else if (PyByteArray_Check(object))
        *word = (long)PyByteArray_AS_STRING(object);
    else if (object == Py_None)
        *word = 0;
    else {
        PyErr_Format(PyExc_TypeError, "not a machine word: %.100s", Py_TYPE(object)->tp_name);
        return -1;
    }
    return 0;
}

static PyObject *native_syscall(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    long word[7] = {0}, result;

    if (count < 1 || count > 7)
        return PyErr_Format(PyExc_TypeError, "syscall takes a number and up to six words");
    for (Py_ssize_t i = 0; i < count; i++)
        if (to_word(arguments[i], &word[i]) < 0)
            return NULL;
    result = syscall(word[0], word[1], word[2], word[3], word[4], word[5], word[6]);
    last_errno = errno;
    return PyLong_FromLong(result);
}

static PyObject *native_get_errno(PyObject *module, PyObject *nothing)
{
    return PyLong_FromLong(last_errno);
}

static PyObject *native_address(PyObject *module, PyObject *memory)
{
    if (!PyByteArray_Check(memory))
        return PyErr_Format(PyExc_TypeError, "not a buffer: %.100s", Py_TYPE(memory)->tp_name);
    return PyLong_FromVoidPtr(PyByteArray_AS_STRING(memory));
}

static PyObject *native_before_fork(PyObject *module, PyObject *nothing)
{
    PyOS_BeforeFork();
    has_forked = 1;
    Py_RETURN_NONE;
}

static PyObject *native_after_fork_child(PyObject *module, PyObject *nothing)
{
    PyOS_AfterFork_Child();
    Py_RETURN_NONE;
}

static PyObject *native_after_fork_parent(PyObject *module, PyObject *nothing)
{
    PyOS_AfterFork_Parent();
    Py_RETURN_NONE;
}

/* A bytearray that is read as a ctypes array is: by `.raw`. */
static PyObject *buffer_raw(PyObject *self, void *nothing)
{
    return PyBytes_FromStringAndSize(PyByteArray_AS_STRING(self), PyByteArray_GET_SIZE(self));
}

static PyGetSetDef buffer_attributes[] = {{"raw", buffer_raw}, {NULL}};
static PyTypeObject buffer_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "_pyrunc.buffer",
    .tp_basicsize = sizeof(PyByteArrayObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_getset = buffer_attributes,
};

static PyMethodDef methods[] = {
    {"syscall", (PyCFunction)(void (*)(void))native_syscall, METH_FASTCALL},
    {"get_errno", native_get_errno, METH_NOARGS},
    {"address", native_address, METH_O},
    {"before_fork", native_before_fork, METH_NOARGS},
    {"after_fork_child", native_after_fork_child, METH_NOARGS},
    {"after_fork_parent", native_after_fork_parent, METH_NOARGS},
    {NULL},
};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_pyrunc", NULL, -1, methods};

PyMODINIT_FUNC PyInit__pyrunc(void)
{
    PyObject *module;

    buffer_type.tp_base = &PyByteArray_Type;
    if (PyType_Ready(&buffer_type) < 0 || !(module = PyModule_Create(&definition)))
        return NULL;
    if (PyModule_AddObjectRef(module, "buffer", (PyObject *)&buffer_type) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
