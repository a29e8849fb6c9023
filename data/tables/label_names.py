"""Names of label columns in common languages."""

import re
import unicodedata

# As `simplify_name` returns them. A column with such a name is the label.
LABEL_NAMES = frozenset(
    name
    for names in (
        # English
        ("label", "labels", "class", "classes", "class label", "class name", "target", "targets", "target class"),
        ("target variable", "category", "species", "quality", "variety", "outcome", "response", "diagnosis"),
        ("ground truth", "dependent variable", "sentiment", "survived", "died", "churn", "churned", "exited"),
        ("attrition", "fraud", "is fraud", "spam", "is spam"),
        # Danish, Norwegian, Swedish
        ("etiket", "etikett", "klasse", "klass", "kategori", "kvalitet", "diagnose", "diagnos", "udfald", "utfall"),
        ("målvariabel",),
        # German, Dutch
        ("kategorie", "zielvariable", "zielgröße", "spezies", "qualität", "categorie", "doelvariabele", "kwaliteit"),
        ("uitkomst",),
        # French
        ("étiquette", "classe", "catégorie", "cible", "espèce", "qualité", "diagnostic", "réponse"),
        # Spanish
        ("etiqueta", "clase", "categoría", "objetivo", "especie", "calidad", "diagnóstico", "respuesta"),
        # Italian
        ("etichetta", "categoria", "obiettivo", "specie", "qualità", "diagnosi", "risposta", "esito"),
        # Portuguese
        ("rótulo", "alvo", "espécie", "qualidade", "resposta", "desfecho"),
        # Polish
        ("etykieta", "klasa", "kategoria", "gatunek", "jakość", "diagnoza", "odpowiedź"),
    )
    for name in names
)
# Names that features have too. A column with such a name is the label where none has one of the names above.
WEAK_LABEL_NAMES = frozenset(
    name
    for names in (
        ("y", "price", "sale price", "saleprice", "value", "median house value", "medv", "result", "type", "income"),
        ("status", "score", "rating", "grade", "default", "defaulted"),
        ("art", "pris", "værdi", "verdi", "värde", "resultat", "typ", "ziel", "ergebnis", "preis", "wert"),
        ("soort", "doel", "resultaat", "prijs", "waarde"),
        ("prix", "valeur", "résultat", "resultado", "precio", "preço", "valor", "tipo"),
        ("risultato", "prezzo", "valore", "wynik", "cena", "wartość", "cel"),
    )
    for name in names
)


def simplify_name(name: str) -> str:
    """Return a name without case, accents, and marks between its words: "Classe_É" -> "classe e"."""
    decomposed = unicodedata.normalize("NFD", name.casefold())
    letters = "".join(character for character in decomposed if not unicodedata.combining(character))
    return " ".join(re.split(r"[\W_]+", letters)).strip()


SIMPLE_LABEL_NAMES = frozenset(map(simplify_name, LABEL_NAMES))
SIMPLE_WEAK_LABEL_NAMES = frozenset(map(simplify_name, WEAK_LABEL_NAMES))


def is_label_name(name: str) -> bool:
    """Tell whether a column of this name is the label."""
    return simplify_name(name) in SIMPLE_LABEL_NAMES


def is_weak_label_name(name: str) -> bool:
    """Tell whether a column of this name is the label where no other has the name of one."""
    return simplify_name(name) in SIMPLE_WEAK_LABEL_NAMES
