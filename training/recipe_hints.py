"""Hints for recipes and options that are written as other programs write them: what to write here instead."""

import codecs
import re
from collections.abc import Iterable

from lagvis.data.messages import nearest_name
from lagvis.errors import RecipeError

BYTE_ORDER_MARKS = (  # the longer ones first: that of UTF-16 is the beginning of that of UTF-32
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# Names of settings in other programs, without separators and in lower case, and the key here.
SYNONYMS = {
    "activationfunction": "activation",
    "batch": "batch_size",
    "batchnorm": "normalization",
    "batchnormalization": "normalization",
    "beta": "momentum",
    "beta1": "momentum",
    "classweight": "class_weights",
    "criterion": "loss",
    "dataset": "data",
    "epoch": "epochs",
    "eta": "lr",
    "file": "data",
    "hiddenlayers": "hidden",
    "hiddenlayersizes": "hidden",
    "initiallearningrate": "lr",
    "layers": "hidden",
    "layernorm": "normalization",
    "layernormalization": "normalization",
    "learningrate": "lr",
    "learningrateinit": "lr",
    "lossfunction": "loss",
    "lrscheduler": "schedule",
    "maxepochs": "epochs",
    "maxiter": "epochs",
    "minibatchsize": "batch_size",
    "nepochs": "epochs",
    "nesterovsmomentum": "nesterov",
    "norm": "normalization",
    "numepochs": "epochs",
    "opt": "optimizer",
    "path": "data",
    "precision": "dtype",
    "randomseed": "seed",
    "randomstate": "seed",
    "sampleweight": "weight_column",
    "sampleweights": "weight_column",
    "sched": "schedule",
    "scheduler": "schedule",
    "smoothing": "label_smoothing",
    "solver": "optimizer",
    "target": "label",
    "units": "hidden",
    "val": "validation",
    "validationsize": "validation",
    "warmupratio": "warmup",
    "weights": "weight_column",
}
# Names of choices in other programs, without separators and in lower case, and the choice here.
CHOICE_SYNONYMS = {
    "batchnorm": "batch",
    "batchnormalization": "batch",
    "layernorm": "layer",
    "layernormalization": "layer",
    "leakyrelu": "leaky-relu",
    "linear": "identity",
    "logistic": "sigmoid",
    "swish": "silu",
}
# Choices that other programs have and Lagvis has not: the nearest here, and how it differs.
MISSING_CHOICES = {
    "hardswish": ("silu", "resembles it"),
    "mish": ("silu", "resembles it"),
    "prelu": ("leaky-relu", "has a fixed slope"),
}
# What other programs have and Lagvis has not.
MISSING = {
    "alpha": "no weight decay",
    "dropout": "no dropout",
    "earlystopping": "no early stopping; best.safetensors holds the epoch with the lowest validation loss",
    "l1": "no weight decay",
    "l2": "no weight decay",
    "patience": "no early stopping; best.safetensors holds the epoch with the lowest validation loss",
    "weightdecay": "no weight decay",
}

# Control characters that a backslash and a letter stand for in double quotes, by the name and the letter.
CONTROL_CHARACTERS = {
    "\b": ("backspace", "b"),
    "\t": ("tab", "t"),
    "\n": ("line feed", "n"),
    "\f": ("form feed", "f"),
    "\r": ("carriage return", "r"),
}
# Values that TOML refuses, and how they are written.
TOML_VALUES = (
    (r'"([^"\']*\\[^"\']*)"?', r"'\1', in single quotes, or with / instead of each backslash"),
    (r'"[^"]*\\[^"]*"?', "the path with / instead of each backslash"),
    (r"(\w:|\.{0,2})([\\/].*)", r"'\1\2', in single quotes"),
    ("[\u201c\u201d\u201e\u2018\u2019\u00ab](.*)[\u201c\u201d\u2018\u2019\u00bb]", r"'\1', with straight quotes"),
    (r"(?i:true|yes|on)", "true"),
    (r"(?i:false|no|off)", "false"),
    (r"([+-]?\d+),(\d+)", r"\1.\2"),
    (r"([+-]?)\.(\d+([eE][+-]?\d+)?)", r"\g<1>0.\2"),
    (r"([+-]?\d+)\.([eE][+-]?\d+)?", r"\1.0\2"),
    (r"0+(\d+)", r"\1"),
    (r"([A-Za-z][\w.-]*)", r'"\1", in quotes'),
)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a message that proposes the nearest known word; empty if none is near."""
    near = nearest_word(word, known)
    return f"; did you mean {near}?" if near else ""


def choice_hint(word: str, choices: Iterable[str]) -> str:
    """Return the end of a message about an unknown choice: the one that is meant, or the nearest; or ""."""
    bare, known = normalized(word), {normalized(choice): choice for choice in choices}
    similar, difference = MISSING_CHOICES.get(bare, ("", ""))
    if similar in known.values():
        return f"; there is no {word}, {similar} {difference}"
    meant = known.get(bare) or known.get(normalized(CHOICE_SYNONYMS.get(bare, "")))
    return f"; did you mean {meant}?" if meant else did_you_mean(word, known.values())


def nearest_word(word: str, known: Iterable[str]) -> str:
    """Return the known word that is nearest to a word; empty if none is near."""
    return nearest_name(word.lower(), known)


def key_hint(word: str, keys: Iterable[str], prefix: str = "") -> str:
    """Return the end of a message about an unknown key: the key that is meant, or what is missing here; or "".

    `prefix` stands before the key: "--" for options.
    """
    bare = normalized(word)
    known = {normalized(key): key for key in keys}
    meant = known.get(bare) or known.get(normalized(SYNONYMS.get(bare, "")))
    if not meant and bare in MISSING:
        return f"; there is {MISSING[bare]}"
    meant = meant or nearest_word(word, known.values())
    return f"; did you mean {prefix}{meant}?" if meant else ""


def normalized(name: str) -> str:
    """Return a name in lower case without separators: Learning-Rate -> learningrate."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def decode(content: bytes) -> str:
    """Decode a recipe: UTF-8, or UTF-16 and UTF-32 with a byte order mark. Raise RecipeError for another encoding."""
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        byte = content[error.start : error.start + 1]
        line = content[: error.start].count(b"\n") + 1
        raise RecipeError(
            f"is not {encoding.upper()}: line {line} holds the byte {byte[0]:#04x}, in Windows-1252 "
            f"{byte.decode('cp1252', 'replace')!r}; save it as UTF-8"
        ) from None
    if "\0" in text:
        raise RecipeError("holds zero bytes, as UTF-16 without a byte order mark does; save it as UTF-8")
    return text


def toml_hint(text: str, message: str) -> str:
    """Return the end of a message about a recipe that is not TOML: how the line is written here; or ""."""
    lines = text.splitlines()
    found = re.search(r"at line (\d+)", message)
    number = int(found[1]) if found else len(text.rstrip().splitlines())
    line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    key, separator, value = (part.strip() for part in line.partition("="))
    value = re.sub(r"\s+#.*", "", value)
    if not separator:
        key, separator, value = (part.strip() for part in line.partition(":"))
        return f"; write {key} = {toml_value(key, value) or value}" if separator and value else ""
    written = toml_value(key, value)
    return f"; write {key} = {written}" if written else ""


def toml_value(key: str, value: str) -> str:
    """Return how a value that TOML refuses is written; "" if that is not clear."""
    if key == "hidden" and re.fullmatch(r"[(]?\d+([,;]\s*\d+)*,?[)]?|(?i:none|null)", value):
        return f"[{', '.join(re.findall('[0-9]+', value))}]"
    for pattern, written in TOML_VALUES:
        if found := re.fullmatch(pattern, value):
            return str(found.expand(written))
    return ""


def control_character_hint(path: str) -> str:
    """Return what is wrong with a path that holds control characters, each shown as a name; "" for another path."""
    found = [c for c in dict.fromkeys(path) if c in CONTROL_CHARACTERS]
    if not found:
        return ""
    shown = meant = path
    for character in found:
        name, letter = CONTROL_CHARACTERS[character]
        shown, meant = shown.replace(character, f"<{name}>"), meant.replace(character, f"\\{letter}")
    escapes = " and ".join(f"\\{letter} means {name}" for name, letter in map(CONTROL_CHARACTERS.__getitem__, found))
    remedy = "with /" if "'" in path else f"in single quotes, '{meant}', or with /"
    return f"data is {shown}, which does not exist; in double quotes {escapes}: write the path {remedy}"
