//! How much the workers of a service do at a time.

use lance_backfill_core::plan::Limits;
use lance_backfill_core::route::Route;
use lance_backfill_embedded::Engine;
use lance_backfill_stages::column::Column;
use lance_backfill_stages::survey::Survey;

/// When a batch for pods is sent again that nobody finished. Its message waits until there is a machine
/// for a pod, which may take an hour; sent twice it would be computed twice, and a queue loses none.
const CLASS_DEADLINE_S: u64 = 6 * 3_600;

/// What bounds the next page of a column whose batches go this way, to workers that have so many batches
/// at work at once.
pub fn limits(
    engine: &Engine,
    column: &Column,
    survey: &Survey,
    route: Route<'_>,
    at_once: u32,
) -> Limits {
    match route {
        Route::Workers => Limits {
            workers: at_once,
            ..engine.limits(column, survey)
        },
        Route::Class(_) => Limits {
            workers: at_once,
            deadline_s: CLASS_DEADLINE_S,
            ..engine.limits_of_one_host(column, survey)
        },
    }
}
