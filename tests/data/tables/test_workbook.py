import datetime
import sys
import zipfile
from pathlib import Path

import pytest

from lagvis.data.datasets import load_dataset
from lagvis.errors import DataError
from tests.data.tables.table_files import read, sample

pd = pytest.importorskip("pandas")
xlsxwriter = pytest.importorskip("xlsxwriter")

ODS_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><office:document-content '
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet>'
)


def write_sheets(path, sheets, hidden=(), **options):
    """Write a workbook of sheets: rows of cells by name, from row 1 on; a row of None is empty."""
    with xlsxwriter.Workbook(path, {"nan_inf_to_errors": True, **options}) as book:
        formats = {
            datetime.datetime: book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            datetime.date: book.add_format({"num_format": "yyyy-mm-dd"}),
            datetime.time: book.add_format({"num_format": "hh:mm:ss"}),
            datetime.timedelta: book.add_format({"num_format": "[h]:mm:ss"}),
        }
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            if name in hidden:
                sheet.hide()
            for r, row in enumerate(rows):
                for c, cell in enumerate(row or ()):
                    if cell is not None:
                        sheet.write(r, c, cell, formats.get(type(cell)))
    return path


def refusal(path, **options):
    with pytest.raises(DataError) as caught:
        read(path, **options)
    assert str(path) in str(caught.value)
    return str(caught.value)


ROWS = [["a", "b", "class"], [1, 0.5, "x"], [2, 1.5, "y"], [3, None, "x"]]
CELLS = [(1, 0.5, "x"), (2, 1.5, "y"), (3, None, "x")]


def test_read_workbook_table_below_remarks_and_beside_empty_columns_is_found(tmp_path):
    rows = [None, [None, None, "Report of 2024"], None, *[[None, None, *row] for row in ROWS], None]
    table = read(write_sheets(tmp_path / "t.xlsx", {"Data": rows}))
    assert table.names == ("a", "b", "class")
    assert table.frame.rows() == CELLS
    assert table.row_location(0) == "sheet Data, row 5"
    assert table.notices == (
        "t.xlsx: 1 row of remarks above the table left out, the first in row 2 ('Report of 2024').",
    )


def test_read_workbook_empty_rows_within_the_table_are_skipped(tmp_path):
    table = read(write_sheets(tmp_path / "t.xlsx", {"Data": [*ROWS[:3], None, None, ROWS[3]]}))
    assert table.frame.rows() == CELLS
    assert table.row_location(2) == "sheet Data, row 6"


def test_read_workbook_total_below_an_empty_row_raises_data_error_with_row(tmp_path):
    path = write_sheets(tmp_path / "t.xlsx", {"Data": [*ROWS, None, ["Total"]]})
    assert "sheet Data, row 6 ('Total') stands below an empty row" in refusal(path)


def test_read_workbook_several_sheets_with_content_are_named(tmp_path):
    path = write_sheets(tmp_path / "t.xlsx", {"Year 1": ROWS, "Empty": [], "Year 2": ROWS[:2]})
    assert "several sheets with content: Year 1, Year 2; choose one with --sheet 'Year 1'" in refusal(path)
    assert [read(path, sheet=sheet).frame.height for sheet in ("Year 1", "year 2", "1", "3")] == [3, 1, 3, 1]
    assert "no sheet 'Year'; it has Year 1, Empty, Year 2" in refusal(path, sheet="Year")
    assert "the sheet 'Empty' is empty" in refusal(path, sheet="2")


def test_read_workbook_hidden_and_empty_sheets_are_no_choice(tmp_path):
    path = write_sheets(tmp_path / "t.xlsx", {"Data": ROWS, "Empty": [], "Lists": [["x"]]}, hidden=["Lists"])
    assert read(path).description == "sheet Data, a header in row 1"


def test_read_workbook_types_of_cells_become_types_of_columns(tmp_path):
    day, time = datetime.date(2024, 2, 29), datetime.time(8, 30, 15)
    moment = datetime.datetime(2024, 2, 29, 8, 30, 15)
    rows = [
        ["day", "moment", "time", "length", "flag", "text", "whole", "=A1"],
        [day, moment, time, datetime.timedelta(hours=30), True, " é ", 1, "=1/0"],
        [None, None, None, None, None, "NA", 2.0, "=2"],
    ]
    table = read(write_sheets(tmp_path / "t.xlsx", {"Data": rows}))
    first, second = table.frame[:, :7].rows()
    assert first == (day, moment, time, 108_000.0, True, "é", 1)
    assert second == (None, None, None, None, None, None, 2)
    assert table.column(6).dtype.is_integer()


def test_read_workbook_errors_are_missing_and_formulas_have_their_values(tmp_path):
    path = tmp_path / "t.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["a", "b"])
        for r, value in enumerate(["#N/A", "#DIV/0!", 2.5, 4], 1):
            sheet.write_number(r, 0, r)
            sheet.write_formula(r, 1, "=A1", None, value)
    assert read(path).column(1).to_list() == [None, None, 2.5, 4]


def test_read_workbook_column_of_dates_and_numbers_is_text(tmp_path):
    rows = [["a", "b"], [1, datetime.date(2024, 1, 1)], [2, 5], [3, "x"], [4, datetime.timedelta(1)]]
    table = read(write_sheets(tmp_path / "t.xlsx", {"Data": rows}))
    assert table.kind(1) == "text"


def test_read_workbook_without_header_has_no_names(tmp_path):
    table = read(write_sheets(tmp_path / "t.xlsx", {"Data": [[1, 0.5, "x"], [2, 1.5, "y"]]}))
    assert not table.has_header
    assert table.frame.rows() == [(1, 0.5, "x"), (2, 1.5, "y")]
    assert table.row_location(0) == "sheet Data, row 1"


def test_read_workbook_years_in_the_header_are_names(tmp_path):
    table = read(write_sheets(tmp_path / "t.xlsx", {"Data": [["land", 2019, 2020], ["a", 1, 2], ["b", 3, 4]]}))
    assert table.names == ("land", "2019", "2020")


@pytest.mark.parametrize("sheet_rows", [[ROWS[0]], [["x"]], []])
def test_read_workbook_without_rows_raises_data_error(tmp_path, sheet_rows):
    message = refusal(write_sheets(tmp_path / "t.xlsx", {"Data": sheet_rows}))
    assert any(words in message for words in ("no rows", "no sheet with content", "single column"))


def test_read_workbook_dates_of_the_calendar_of_1904_equal_pandas(tmp_path):
    day = datetime.date(2024, 2, 29)
    path = write_sheets(tmp_path / "t.xlsx", {"Data": [["a", "b"], [day, 1], [day, 2]]}, date_1904=True)
    assert read(path).column(0).to_list() == [day, day]


def test_read_workbook_cell_far_from_the_table_raises_data_error(tmp_path):
    path = tmp_path / "t.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["a", "b"])
        sheet.write(1_048_575, 16_383, 1)
    assert "1,048,576 rows and 16,384 columns" in refusal(path)


def ods_cell(value):
    """Return a cell of a spreadsheet of OpenDocument."""
    if value is None:
        return "<table:table-cell/>"
    kind, attribute = {
        float: ("float", "value"),
        str: ("string", "string-value"),
        datetime.date: ("date", "date-value"),
    }[type(value)]
    attributes = f'office:value-type="{kind}" office:{attribute}="{value}"'
    return f"<table:table-cell {attributes}><text:p>{value}</text:p></table:table-cell>"


def write_ods(path, rows):
    """Write a spreadsheet of OpenDocument by hand, with the empty rows that programs write behind a table."""
    body = "".join(f"<table:table-row>{''.join(map(ods_cell, row))}</table:table-row>" for row in rows)
    empty = '<table:table-cell table:number-columns-repeated="1024"/>'
    tail = f'<table:table-row table:number-rows-repeated="1048000">{empty}</table:table-row>'
    end = "</table:table></office:spreadsheet></office:body></office:document-content>"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", f'{ODS_HEAD}<table:table table:name="Data">{body}{tail}{end}')
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
    return path


def test_read_workbook_opendocument_is_read(tmp_path):
    day = datetime.date(2024, 2, 29)
    rows = [["a", "b", "class"], [1.0, day, "x"], [2.5, None, "y"]]
    table = read(write_ods(tmp_path / "t.ods", rows))
    assert table.names == ("a", "b", "class")
    assert table.frame.rows() == [(1.0, day, "x"), (2.5, None, "y")]


def test_read_workbook_with_password_raises_data_error(tmp_path):
    path = tmp_path / "t.xlsx"
    path.write_bytes(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + "EncryptedPackage".encode("utf-16-le") + bytes(512)
    )
    assert "is protected with a password; save it without one" in refusal(path)


def test_read_workbook_without_fastexcel_names_the_command(tmp_path, monkeypatch):
    path = write_sheets(tmp_path / "t.xlsx", {"Data": ROWS})
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    assert "pip install -e '.[excel]', or save the sheet as CSV" in refusal(path)


def test_load_dataset_document_raises_data_error(tmp_path):
    path = tmp_path / "t.docx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", "<w/>")
    with pytest.raises(DataError, match="is a document; copy its table into a spreadsheet"):
        load_dataset(str(path))


def test_load_dataset_sheet_option_reads_the_sheet(tmp_path):
    with pd.ExcelWriter(tmp_path / "t.xlsx", engine="xlsxwriter") as writer:
        sample().to_excel(writer, sheet_name="A", index=False)
        sample(40).to_excel(writer, sheet_name="B", index=False)
    assert len(load_dataset(str(tmp_path / "t.xlsx"), sheet="B").x_train) == 32


def test_read_workbook_of_excel_97_is_read():
    """The file was written by the package xlwt: a remark, a header, six rows of numbers, dates and text."""
    table = read(Path(__file__).with_name("excel97.xls"))
    assert table.names == ("a", "day", "class")
    assert table.frame.rows() == [(i / 2, datetime.date(2024, 1, i + 1), "xy"[i % 2]) for i in range(6)]
    assert table.row_location(0) == "sheet S1, row 3"
