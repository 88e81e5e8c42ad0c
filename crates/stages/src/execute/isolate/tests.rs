use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::Int64Array;
use async_trait::async_trait;
use lance_backfill_core::definition::ErrorPolicy;

use super::*;
use crate::until::{Stop, Until};

/// Gives each row back, two a call; its time is over in the call after so many, which never ends.
struct Endless {
    calls: AtomicUsize,
    last: usize,
    stop: Stop,
}

#[async_trait]
impl Compute for Endless {
    async fn rows_per_call(&self, _: usize) -> std::result::Result<usize, Fault> {
        Ok(2)
    }

    async fn call(&self, call: Call<'_>) -> std::result::Result<Answer, Fault> {
        if self.calls.fetch_add(1, Ordering::SeqCst) == self.last {
            self.stop.now(crate::until::End::Spent);
            return std::future::pending().await;
        }
        Ok(Answer {
            values: vec![call.rows.column(0).clone()],
            failed: vec![],
            end: End::Complete,
            busy: None,
        })
    }
}

#[tokio::test]
async fn a_call_that_the_end_of_the_time_meets_is_given_up_and_what_is_finished_is_kept() {
    for last in 0..4 {
        let (stop, until) = Until::stopped();
        let function = Endless {
            calls: AtomicUsize::new(0),
            last,
            stop,
        };
        let policy = ErrorPolicy::default();
        let budget = Budget::new(&policy, 1, None, Arc::default(), until);
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..7));
        let batch = RecordBatch::try_from_iter([("id", ids)]).expect("a batch");
        let computed = call(&function, &batch, &DataType::Int64, &budget, "b").await;
        let computed = computed.expect("what is finished");
        let finished = small(2 * last);
        assert_eq!(computed.places, RowSet::range(0..finished));
        assert_eq!(computed.values.len(), 2 * last);
        assert_eq!(computed.calls, last as u64 + 1);
        assert!(computed.fault.is_none() && computed.failed.is_empty());
        assert!(budget.time_is_up());
    }
}
