/* Code objects, and the constants that they refer to, as static data of CPython 3.11: what deepfreeze.py writes
 * is made of these. An object that is never freed may lie in the program: its reference count begins high. SECTION
 * is where: what is used together lies together. */
#define HEAD(type) {1 << 30, &type}
#define SIZED(type, size) {HEAD(type), size}
#define REF(name) ((PyObject *)&name)
#define MEMBER(name) ((PyObject *)&name.object) /* of those with a garbage collector's head, which isn't in use */

#define PLACED __attribute__((section(SECTION)))

#define STATE(width, is_ascii) {.kind = width, .compact = 1, .ascii = is_ascii, .ready = 1}
#define ASCII(name, size, text)                                                                                \
    static struct {                                                                                            \
        PyASCIIObject object;                                                                                  \
        char text_[size + 1];                                                                                  \
    } name PLACED = {{HEAD(PyUnicode_Type), size, -1, STATE(1, 1), NULL}, text};

#define WIDE(name, size, width, ...)                                                                           \
    static struct {                                                                                            \
        PyCompactUnicodeObject object;                                                                         \
        Py_UCS##width##_ text_[size + 1];                                                                      \
    } name PLACED = {{{HEAD(PyUnicode_Type), size, -1, STATE(width, 0), NULL}, 0, NULL, 0}, {__VA_ARGS__, 0}};
typedef Py_UCS1 Py_UCS1_;
typedef Py_UCS2 Py_UCS2_;
typedef Py_UCS4 Py_UCS4_;

#define BYTES(name, size, text)                                                                                \
    static struct {                                                                                            \
        PyObject_VAR_HEAD Py_hash_t hash;                                                                      \
        char text_[size + 1];                                                                                  \
    } name PLACED = {SIZED(PyBytes_Type, size), -1, text};

#define INTEGER(name, sign, count, ...)                                                                        \
    static struct {                                                                                            \
        PyObject_VAR_HEAD digit digits[count];                                                                 \
    } name PLACED = {SIZED(PyLong_Type, (sign) * (count)), {__VA_ARGS__}};
#define FLOAT(name, value) static PyFloatObject name PLACED = {HEAD(PyFloat_Type), value};

#define TUPLE(name, size, ...)                                                                                 \
    static struct {                                                                                            \
        uintptr_t collector[2];                                                                                \
        struct {                                                                                               \
            PyObject_VAR_HEAD PyObject *items[size];                                                           \
        } object;                                                                                              \
    } name PLACED = {{0, 0}, {SIZED(PyTuple_Type, size), {__VA_ARGS__}}};
#define EMPTY(name)                                                                                            \
    static struct {                                                                                            \
        uintptr_t collector[2];                                                                                \
        PyTupleObject object;                                                                                  \
    } name PLACED = {{0, 0}, {SIZED(PyTuple_Type, 0), {NULL}}};

/* `co_warmup`: how many calls from the first specialisation of the code. */
#define CODE_OBJECT(name, size, code, ...)                                                                     \
    static struct _PyCode_DEF(size + 1) name PLACED = {                                                               \
        .ob_base = SIZED(PyCode_Type, (size) / 2), .co_warmup = -8, .co_code_adaptive = code, __VA_ARGS__      \
    };
