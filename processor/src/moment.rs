//! The whole state of a partition at one moment, looked at while the fold goes on.

use crate::error::InspectError;
use crate::partition::Owned;
use crate::pins::{Held, Passed};
use crate::state::store::StoreError;
use crate::state::whole::Whole;
use std::sync::Arc;
use std::time::Duration;
use track_log::Offset;

/// The longest that an offset is waited for; callers give up sooner by their own deadline.
const REACHED_WITHIN: Duration = Duration::from_secs(10);

/// A moment of a partition that is ours: now, or when it has exactly the records before an offset.
pub(crate) struct Moment {
    pub(crate) owned: Arc<Owned>,
    at: Option<Offset>,
    held: Option<Held>,
}

impl Moment {
    /// Waits until the partition has come to `at`. It does not stay there for long: look at once.
    pub(crate) async fn reach(owned: Arc<Owned>, at: Option<Offset>) -> Result<Self, InspectError> {
        let partition = owned.partition();
        let held = match at {
            None => None,
            Some(at_offset) => {
                let reached = owned.pins().ask(at_offset);
                let answer = tokio::select! {
                    answer = tokio::time::timeout(REACHED_WITHIN, reached) => answer,
                    () = owned.going() => return Err(InspectError::Moving { partition }),
                };
                match answer {
                    Ok(Ok(Ok(held))) => Some(held),
                    Ok(Ok(Err(Passed { next_offset }))) => {
                        return Err(InspectError::Passed { partition, at_offset, next_offset });
                    }
                    Ok(Err(_)) => return Err(InspectError::Moving { partition }),
                    Err(_) => {
                        let next_offset = owned.next_offset();
                        return Err(InspectError::NotReached { partition, at_offset, next_offset });
                    }
                }
            }
        };
        Ok(Self { owned, at, held })
    }

    /// Opens all of the state, lets the fold go on, and hands it to `work`. Blocks for as long as `work` takes, and the
    /// partition can't be closed or mended before: `work` ends early where [`Owned::is_going`].
    pub(crate) fn look<T>(self, work: impl FnOnce(Whole<'_>) -> Result<T, StoreError>) -> Result<T, InspectError> {
        let Self { owned, at, held } = self;
        let partition = owned.partition();
        let looked = owned.look(|store| {
            let view = store.view();
            let whole = view.whole()?;
            drop(held);
            let next_offset = whole.progress().next_offset;
            if let Some(at_offset) = at.filter(|at| next_offset > *at) {
                return Ok(Err(InspectError::Passed { partition, at_offset, next_offset }));
            }
            Ok(Ok(work(whole)?))
        });
        looked.unwrap_or(Err(InspectError::Moving { partition }))
    }
}
