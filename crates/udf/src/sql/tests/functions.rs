//! Every function, called with columns and constants of every type.

use super::super::session;
use super::{SqlError, SqlFunction, table};

/// The arguments: columns of all types, constants at the edges, and NULL.
const ARGUMENTS: [&str; 12] = [
    "a", "x", "dec", "text", "day", "at", "bytes", "s", "list", "vector", "NULL", "-1",
];

#[test]
fn every_call_of_a_function_gives_values_of_its_type_or_an_error() {
    let table = table();
    let schema = table.schema();
    let state = session::state();
    // A function is registered under its aliases too.
    let scalar = state.scalar_functions().iter();
    let scalar = scalar.filter(|(name, function)| *name == function.name());
    let scalar = scalar.map(|(name, _)| name);
    let mut computed = 0;
    for name in scalar.chain(state.higher_order_functions().keys()) {
        let one = ARGUMENTS.map(|argument| format!("{name}({argument})"));
        let two = ARGUMENTS
            .iter()
            .flat_map(|left| ARGUMENTS.map(|right| format!("{name}({left}, {right})")));
        for text in std::iter::once(format!("{name}()")).chain(one).chain(two) {
            match SqlFunction::compile(&text, &schema, None) {
                Err(SqlError::NotCompiled { message }) => panic!("{text}: {message}"),
                Err(_) => {}
                Ok(function) => {
                    let whole = function.evaluate(&table);
                    for row in 0..table.num_rows() {
                        let values = function.evaluate(&table.slice(row, 1));
                        match values {
                            Ok(values) => {
                                assert_eq!(values.data_type(), function.output_type(), "{text}");
                                assert_eq!(values.len(), 1, "{text}");
                                computed += 1;
                            }
                            // TRY_CAST of lists of another length panics in Arrow, and only for
                            // some batches.
                            Err(error) if error.message.contains("panicked") => {}
                            // Otherwise a batch fails if one of its rows does.
                            Err(error) => assert!(whole.is_err(), "{text}: {error}"),
                        }
                    }
                }
            }
        }
    }
    assert!(computed > 5_000, "only {computed} values");
}

#[test]
fn a_panic_inside_a_function_is_an_error() {
    // If one of these stops to panic, its guard may go once none is left.
    for (text, row) in [("array_repeat(1, a)", 3), ("array_resize([1], a)", 3)] {
        let error = super::row_error(text, row);
        assert_eq!(error.kind, "internal", "{text}: {error}");
        assert!(error.message.contains("panicked"), "{text}: {error}");
    }
    let error = super::refused("array_repeat(1, 9223372036854775807)");
    assert!(matches!(error, SqlError::ConstantFails { .. }), "{error}");
}
