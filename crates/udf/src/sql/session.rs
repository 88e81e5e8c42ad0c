//! The functions and settings that every expression is planned and evaluated with.

use std::sync::{Arc, LazyLock};

use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionConfig;

use super::octet_length::OctetLength;

/// The state that is shared by all expressions: DataFusion's default functions and expression
/// planners. It holds no tables, and none of its settings come from the environment.
pub(super) fn state() -> &'static SessionState {
    static STATE: LazyLock<SessionState> = LazyLock::new(|| {
        let mut config = SessionConfig::new();
        let parser = &mut config.options_mut().sql_parser;
        // Lance stores plain strings; views would be converted row by row at the end.
        parser.map_string_types_to_utf8view = false;
        parser.support_varchar_with_length = true;
        let mut builder = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features();
        // The last function of a name is the one that counts.
        let octet_length = ScalarUDF::from(OctetLength::new());
        (builder.scalar_functions().get_or_insert_default()).push(Arc::new(octet_length));
        builder.build()
    });
    &STATE
}

/// What a function name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FunctionClass {
    Scalar,
    Aggregate,
    Window,
    /// Turns one row into several.
    Unnest,
    Unknown,
}

/// What the function `name`, in the planner's case, stands for.
pub(super) fn function_class(name: &str) -> FunctionClass {
    let state = state();
    if state.scalar_functions().contains_key(name)
        || state.higher_order_functions().contains_key(name)
        // The planner rewrites this one before it looks for functions.
        || name == "make_map"
    {
        FunctionClass::Scalar
    } else if name == "unnest" {
        FunctionClass::Unnest
    } else if state.aggregate_functions().contains_key(name) {
        FunctionClass::Aggregate
    } else if state.window_functions().contains_key(name) {
        FunctionClass::Window
    } else {
        FunctionClass::Unknown
    }
}

/// Whether the function `name` takes a lambda.
pub(super) fn is_higher_order(name: &str) -> bool {
    state().higher_order_functions().contains_key(name)
}

/// The names of all functions that compute a value from one row.
pub(super) fn function_names() -> Vec<&'static str> {
    let state = state();
    let scalar = state.scalar_functions().keys();
    let higher_order = state.higher_order_functions().keys();
    scalar.chain(higher_order).map(String::as_str).collect()
}
