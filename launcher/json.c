/* `_json`: a scanner and an encoder, as far as pyrunc/jsonio.py uses them and with the standard library's
 * verdicts. Debian's static interpreter comes without the original. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* --- from text ------------------------------------------------------------------------------------------- */

struct text {
    PyObject *object;
    const void *data;
    int kind;
    Py_ssize_t length;
    PyObject *parse_constant;
};

static PyObject *scan_value(struct text *text, Py_ssize_t *at);

/* The character there, or 0 at the end; 0 itself is no part of any JSON but of a string that is refused. */
static Py_UCS4 look(struct text *text, Py_ssize_t at)
{
    return at < text->length ? PyUnicode_READ(text->kind, text->data, at) : 0;
}

static Py_ssize_t skip_blank(struct text *text, Py_ssize_t at)
{
    for (;; at++) {
        Py_UCS4 c = look(text, at);
        if (c != ' ' && c != '\n' && c != '\t' && c != '\r')
            return at;
    }
}

static void *fail(const char *why, Py_ssize_t at)
{
    PyErr_Format(PyExc_ValueError, "%s (char %zd)", why, at);
    return NULL;
}

static int hexadecimal(struct text *text, Py_ssize_t at, Py_UCS4 *value)
{
    *value = 0;
    for (Py_ssize_t end = at + 4; at < end; at++) {
        Py_UCS4 c = look(text, at);
        if (c >= '0' && c <= '9')
            c -= '0';
        else if (c >= 'a' && c <= 'f')
            c -= 'a' - 10;
        else if (c >= 'A' && c <= 'F')
            c -= 'A' - 10;
        else
            return 0;
        *value = *value << 4 | c;
    }
    return 1;
}

/* One escape; `at` is behind the backslash and ends behind the escape. A pair of surrogates is a character. */
static int scan_escape(struct text *text, Py_ssize_t *at, Py_UCS4 *value)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    Py_UCS4 c = look(text, (*at)++), low;
    const char *found = c && c < 128 ? strchr(names, (int)c) : NULL;

    if (found) {
        *value = (Py_UCS4)values[found - names];
        return 1;
    }
    if (c != 'u' || !hexadecimal(text, *at, value))
        return 0;
    *at += 4;
    if (Py_UNICODE_IS_HIGH_SURROGATE(*value) && look(text, *at) == '\\' && look(text, *at + 1) == 'u'
        && hexadecimal(text, *at + 2, &low) && Py_UNICODE_IS_LOW_SURROGATE(low)) {
        *value = Py_UNICODE_JOIN_SURROGATES(*value, low);
        *at += 6;
    }
    return 1;
}

/* `at` is behind the opening quote and ends behind the closing one. */
static PyObject *scan_string(struct text *text, Py_ssize_t *at)
{
    Py_ssize_t begin = *at, end = begin, count = 0;
    Py_UCS4 *characters, c;
    PyObject *result;
    int is_escaped = 0;

    while ((c = look(text, end)) != '"') {
        if (end >= text->length)
            return fail("Unterminated string starting at", begin - 1);
        if (c < 0x20)
            return fail("Invalid control character at", end);
        is_escaped |= c == '\\';
        end += c == '\\' ? 2 : 1;
    }
    *at = end + 1;
    if (!is_escaped)
        return PyUnicode_Substring(text->object, begin, end);
    if (!(characters = PyMem_New(Py_UCS4, end - begin)))
        return PyErr_NoMemory();
    while (begin < end) {
        c = look(text, begin++);
        if (c == '\\' && !scan_escape(text, &begin, &c)) {
            PyMem_Free(characters);
            return fail("Invalid \\escape", begin - 1);
        }
        characters[count++] = c;
    }
    result = PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, characters, count);
    PyMem_Free(characters);
    return result;
}

static PyObject *scan_object(struct text *text, Py_ssize_t *at)
{
    PyObject *result = PyDict_New(), *key, *value;
    int failed;

    *at = skip_blank(text, *at);
    if (result && look(text, *at) == '}') {
        ++*at;
        return result;
    }
    while (result) {
        if (look(text, *at) != '"') {
            fail("Expecting property name enclosed in double quotes", *at);
            break;
        }
        ++*at;
        if (!(key = scan_string(text, at)))
            break;
        PyUnicode_InternInPlace(&key); /* the code that asks for it has the very same one */
        *at = skip_blank(text, *at);
        if (look(text, *at) != ':') {
            Py_DECREF(key);
            fail("Expecting ':' delimiter", *at);
            break;
        }
        *at = skip_blank(text, *at + 1);
        value = scan_value(text, at);
        failed = !value || PyDict_SetItem(result, key, value) < 0;
        Py_DECREF(key);
        Py_XDECREF(value);
        if (failed)
            break;
        *at = skip_blank(text, *at);
        if (look(text, *at) == '}') {
            ++*at;
            return result;
        }
        if (look(text, *at) != ',') {
            fail("Expecting ',' delimiter", *at);
            break;
        }
        *at = skip_blank(text, *at + 1);
    }
    Py_XDECREF(result);
    return NULL;
}

static PyObject *scan_array(struct text *text, Py_ssize_t *at)
{
    PyObject *result = PyList_New(0), *value;
    int failed;

    *at = skip_blank(text, *at);
    if (result && look(text, *at) == ']') {
        ++*at;
        return result;
    }
    while (result) {
        value = scan_value(text, at);
        failed = !value || PyList_Append(result, value) < 0;
        Py_XDECREF(value);
        if (failed)
            break;
        *at = skip_blank(text, *at);
        if (look(text, *at) == ']') {
            ++*at;
            return result;
        }
        if (look(text, *at) != ',') {
            fail("Expecting ',' delimiter", *at);
            break;
        }
        *at = skip_blank(text, *at + 1);
    }
    Py_XDECREF(result);
    return NULL;
}

static int is_digit(Py_UCS4 c)
{
    return c >= '0' && c <= '9';
}

static PyObject *scan_number(struct text *text, Py_ssize_t *at)
{
    Py_ssize_t begin = *at, end = begin, after;
    PyObject *digits, *result;
    int is_float = 0;

    end += look(text, end) == '-';
    if (!is_digit(look(text, end)))
        return fail("Expecting value", begin);
    if (look(text, end) == '0')
        end++;
    else
        while (is_digit(look(text, end)))
            end++;
    if (look(text, end) == '.' && is_digit(look(text, end + 1)))
        for (is_float = 1, end += 2; is_digit(look(text, end)); end++)
            ;
    after = end + 1;
    after += look(text, after) == '+' || look(text, after) == '-';
    if ((look(text, end) == 'e' || look(text, end) == 'E') && is_digit(look(text, after)))
        for (is_float = 1, end = after + 1; is_digit(look(text, end)); end++)
            ;
    *at = end;
    if (!(digits = PyUnicode_Substring(text->object, begin, end)))
        return NULL;
    result = is_float ? PyFloat_FromString(digits) : PyLong_FromUnicodeObject(digits, 10);
    Py_DECREF(digits);
    return result;
}

/* `value` if the text goes on with `word`. */
static PyObject *scan_word(struct text *text, Py_ssize_t *at, const char *word, PyObject *value)
{
    Py_ssize_t end = *at;

    for (const char *letter = word; *letter; letter++)
        if (look(text, end++) != (Py_UCS4)*letter)
            return fail("Expecting value", *at);
    *at = end;
    return value ? Py_NewRef(value) : PyObject_CallFunction(text->parse_constant, "s", word);
}

static PyObject *scan_value(struct text *text, Py_ssize_t *at)
{
    PyObject *result;

    switch (look(text, *at)) {
    case '"':
        ++*at;
        return scan_string(text, at);
    case '{':
    case '[':
        if (Py_EnterRecursiveCall(" while reading JSON"))
            return NULL;
        result = look(text, (*at)++) == '{' ? scan_object(text, at) : scan_array(text, at);
        Py_LeaveRecursiveCall();
        return result;
    case 'n':
        return scan_word(text, at, "null", Py_None);
    case 't':
        return scan_word(text, at, "true", Py_True);
    case 'f':
        return scan_word(text, at, "false", Py_False);
    case 'N':
        return scan_word(text, at, "NaN", NULL);
    case 'I':
        return scan_word(text, at, "Infinity", NULL);
    case '-':
        if (look(text, *at + 1) == 'I')
            return scan_word(text, at, "-Infinity", NULL);
        /* fall through */
    default:
        return scan_number(text, at);
    }
}

/* scanner(text, at) -> (value, where it ends) */
static PyObject *scanner_call(PyObject *parse_constant, PyObject *const *arguments, Py_ssize_t count)
{
    struct text text = {.parse_constant = parse_constant};
    PyObject *value;
    Py_ssize_t at;

    if (count != 2 || !PyUnicode_Check(arguments[0]))
        return PyErr_Format(PyExc_TypeError, "a scanner takes a text and where to begin");
    at = PyLong_AsSsize_t(arguments[1]);
    if (at < 0)
        return PyErr_Occurred() ? NULL : fail("Expecting value", at);
    text.object = arguments[0];
    text.data = PyUnicode_DATA(text.object);
    text.kind = (int)PyUnicode_KIND(text.object);
    text.length = PyUnicode_GET_LENGTH(text.object);
    if (!(value = scan_value(&text, &at)))
        return NULL;
    return Py_BuildValue("(Nn)", value, at);
}

static PyMethodDef scanner_definition = {
    "scanner", (PyCFunction)(void (*)(void))scanner_call, METH_FASTCALL
};

/* Of the context nothing counts but `parse_constant`: numbers are int and float, strings are strict. */
static PyObject *json_make_scanner(PyObject *module, PyObject *context)
{
    PyObject *parse_constant = PyObject_GetAttrString(context, "parse_constant"), *scanner;

    if (!parse_constant)
        return NULL;
    scanner = PyCFunction_New(&scanner_definition, parse_constant);
    Py_DECREF(parse_constant);
    return scanner;
}

/* --- to text --------------------------------------------------------------------------------------------- */

struct output {
    Py_UCS4 *data;
    Py_ssize_t length, room;
    PyObject *unknown; /* called with a value that has no JSON */
};

static int put(struct output *output, Py_UCS4 c)
{
    if (output->length == output->room) {
        Py_ssize_t room = output->room ? 2 * output->room : 512;
        Py_UCS4 *data = PyMem_Realloc(output->data, (size_t)room * sizeof(Py_UCS4));
        if (!data) {
            PyErr_NoMemory();
            return -1;
        }
        output->data = data;
        output->room = room;
    }
    output->data[output->length++] = c;
    return 0;
}

static int put_words(struct output *output, const char *words)
{
    for (; *words; words++)
        if (put(output, (unsigned char)*words) < 0)
            return -1;
    return 0;
}

static int put_string(struct output *output, PyObject *string)
{
    static const char values[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    int kind = (int)PyUnicode_KIND(string);
    const void *data = PyUnicode_DATA(string);
    char escape[8];

    if (put(output, '"') < 0)
        return -1;
    for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(string); i++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, i);
        const char *found = c && c < 128 ? strchr(values, (int)c) : NULL;
        if (found || c < 0x20) {
            snprintf(escape, sizeof escape, found ? "\\%c" : "\\u%04x", found ? names[found - values] : (int)c);
            if (put_words(output, escape) < 0)
                return -1;
        } else if (put(output, c) < 0)
            return -1;
    }
    return put(output, '"');
}

static int put_float(struct output *output, double value)
{
    char *words;
    int result;

    if (!Py_IS_FINITE(value)) {
        PyErr_SetString(PyExc_ValueError, "Out of range float values are not JSON compliant");
        return -1;
    }
    if (!(words = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL)))
        return -1;
    result = put_words(output, words);
    PyMem_Free(words);
    return result;
}

static int put_int(struct output *output, PyObject *value)
{
    PyObject *text = PyLong_Type.tp_repr(value);
    const char *words = text ? PyUnicode_AsUTF8(text) : NULL;
    int result = words ? put_words(output, words) : -1;

    Py_XDECREF(text);
    return result;
}

static int put_value(struct output *output, PyObject *value);

static int put_members(struct output *output, PyObject *members)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    char separator = '{';

    while (PyDict_Next(members, &position, &key, &value)) {
        if (!PyUnicode_Check(key)) {
            PyErr_Format(PyExc_TypeError, "keys must be str, not %.100s", Py_TYPE(key)->tp_name);
            return -1;
        }
        if (put(output, separator) < 0 || put_string(output, key) < 0 || put(output, ':') < 0
            || put_value(output, value) < 0)
            return -1;
        separator = ',';
    }
    return put_words(output, separator == '{' ? "{}" : "}");
}

static int put_items(struct output *output, PyObject *items)
{
    char separator = '[';

    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items); i++) {
        if (put(output, separator) < 0 || put_value(output, PySequence_Fast_GET_ITEM(items, i)) < 0)
            return -1;
        separator = ',';
    }
    return put_words(output, separator == '[' ? "[]" : "]");
}

static int put_value(struct output *output, PyObject *value)
{
    PyObject *other;
    int result;

    if (value == Py_None || value == Py_True || value == Py_False)
        return put_words(output, value == Py_None ? "null" : value == Py_True ? "true" : "false");
    if (PyUnicode_Check(value))
        return put_string(output, value);
    if (PyLong_Check(value))
        return put_int(output, value);
    if (PyFloat_Check(value))
        return put_float(output, PyFloat_AS_DOUBLE(value));
    if (Py_EnterRecursiveCall(" while writing JSON"))
        return -1;
    if (PyDict_Check(value))
        result = put_members(output, value);
    else if (PyList_Check(value) || PyTuple_Check(value))
        result = put_items(output, value);
    else {
        other = PyObject_CallOneArg(output->unknown, value);
        result = other ? put_value(output, other) : -1;
        Py_XDECREF(other);
    }
    Py_LeaveRecursiveCall();
    return result;
}

static PyObject *finish(struct output *output, int result)
{
    PyObject *text = NULL;

    if (result == 0)
        text = PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, output->data, output->length);
    PyMem_Free(output->data);
    return text;
}

static PyObject *json_encode_basestring(PyObject *module, PyObject *string)
{
    struct output output = {0};

    if (!PyUnicode_Check(string))
        return PyErr_Format(PyExc_TypeError, "not a string: %.100s", Py_TYPE(string)->tp_name);
    return finish(&output, put_string(&output, string));
}

/* encoder(value, indentation) -> the text in pieces; it is one piece, and never indented */
static PyObject *encoder_call(PyObject *unknown, PyObject *const *arguments, Py_ssize_t count)
{
    struct output output = {.unknown = unknown};
    PyObject *text;

    if (count != 2)
        return PyErr_Format(PyExc_TypeError, "an encoder takes a value and an indentation");
    text = finish(&output, put_value(&output, arguments[0]));
    return text ? Py_BuildValue("(N)", text) : NULL;
}

static PyMethodDef encoder_definition = {
    "encoder", (PyCFunction)(void (*)(void))encoder_call, METH_FASTCALL
};

/* As the original is called: (markers, default, encoder, indent, ":", ",", sort_keys, skipkeys, allow_nan). */
static PyObject *json_make_encoder(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 9)
        return PyErr_Format(PyExc_TypeError, "make_encoder takes 9 arguments");
    return PyCFunction_New(&encoder_definition, arguments[1]);
}

static PyMethodDef methods[] = {
    {"make_scanner", json_make_scanner, METH_O},
    {"make_encoder", (PyCFunction)(void (*)(void))json_make_encoder, METH_FASTCALL},
    {"encode_basestring", json_encode_basestring, METH_O},
    {NULL},
};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_json", NULL, -1, methods};

PyMODINIT_FUNC PyInit__json(void)
{
    return PyModule_Create(&definition);
}
