"""Messages of the binary speak of parameters here, not of options."""

import pytest

from lance_backfill.client.spelling import in_python, parameters_of


@pytest.mark.parametrize(
    ("command", "message", "expected"),
    [
        ("column add", "--inputs names 2 columns", "inputs= names 2 columns"),
        ("column add", "or give --adopt to keep its values", "or give adopt= to keep its values"),
        ("column add", "give --type 'double' to", "give data_type='double' to"),
        ("column add", "--env 'mars' is neither", "env='mars' is neither"),
        ("column add", "'x' for '--on-error <ON_ERROR>'", "'x' for 'on_error='"),
        ("status", "give them with --storage-option", "give them with storage_options="),
        (
            "refresh",
            "raise --max-failed-rows or --max-failed-fraction with 'column alter'",
            "raise max_failed_rows= or max_failed_fraction= with alter_columns",
        ),
        ("plan", "--where and --job: give --column", "where= and job=: give column="),
        ("status", "give --column", "give --column"),
        ("column add", "give --sql, or --udf with --from", "give --sql, or --udf with code="),
        ("column add", "say so with 'column alter --where'", "say so with 'column alter --where'"),
        ("column add", "a--where - --wherever --", "a--where - --wherever --"),
    ],
)
def test_options_become_parameters(command, message, expected):
    assert in_python(message, parameters_of(command.split())) == expected
