# Flattens one JSON document into lines "path<TAB>value", for guests that have
# nothing but busybox: {"job": {"exit_code": 7}} gives "job.exit_code<TAB>7".
# Elements of arrays are numbered from 0; an empty object or array gives "{}" or
# "[]". Strings lose their quotes, escapes stay as written. Fails (status 1) on
# text that is not one complete document.

{ text = text $0 "\n" }

function fail(why) { printf "json: %s\n", why | "cat >&2"; failed = 1; exit 1 }

# Takes the next token off the text. Sets token; type is one of: string, word
# (number, true, false, null), or the punctuation mark itself.
function take() {
    sub(/^[ \t\r\n]+/, "", text)
    if (text == "") return 0
    if (match(text, /^"([^"\\]|\\.)*"/)) {
        token = substr(text, 2, RLENGTH - 2); type = "string"
    } else if (match(text, /^[-+.0-9A-Za-z]+/)) {
        token = substr(text, 1, RLENGTH); type = "word"
    } else {
        RLENGTH = 1; token = type = substr(text, 1, 1)
    }
    text = substr(text, RLENGTH + 1)
    return 1
}

function expect_token() { if (!take()) fail("ends too early") }

function join_path(base, name) { return base == "" ? name : base "." name }

# One value, whose first token was taken.
function value(path) {
    if (type == "{") object(path)
    else if (type == "[") array(path)
    else if (type == "string" || type == "word") printf "%s\t%s\n", path, token
    else fail("unexpected " token " at " path)
}

function object(path,    name) {
    expect_token()
    if (type == "}") { printf "%s\t{}\n", path; return }
    for (;;) {
        if (type != "string") fail("no name at " path)
        name = token
        expect_token(); if (type != ":") fail("no colon after " name)
        expect_token(); value(join_path(path, name))
        expect_token(); if (type == "}") return
        if (type != ",") fail("no comma in " path)
        expect_token()
    }
}

function array(path,    position) {
    expect_token()
    if (type == "]") { printf "%s\t[]\n", path; return }
    for (position = 0; ; position++) {
        value(join_path(path, position))
        expect_token(); if (type == "]") return
        if (type != ",") fail("no comma in " path)
        expect_token()
    }
}

END {
    if (failed) exit 1
    expect_token(); value("")
    if (take()) fail("something follows the document")
}
