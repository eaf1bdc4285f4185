//! Whether several processors that serve a partition have one state, asked of them at one offset.

use super::judge::{DigestView, OwnerState, Picture};
use crate::verify;
use std::collections::HashMap;
use track_query_api::owners::Connect;

/// Compares, partition by partition, the first that serves it with each other: each reads its whole state.
pub(super) async fn compare(picture: &mut Picture, connect: &Connect) {
    let urls: HashMap<_, _> =
        picture.processors.iter().map(|processor| (processor.instance.clone(), processor.url.clone())).collect();
    for partition in &mut picture.partitions {
        let serving: Vec<_> = partition.owners.iter().filter(|owner| owner.state == OwnerState::Serving).collect();
        let Some((first, others)) = serving.split_first() else { continue };
        for other in others {
            let at = (&*urls[&first.instance], &*urls[&other.instance]);
            let agree = verify::running_agree(connect, at, partition.partition).await;
            let instances = [first.instance.clone(), other.instance.clone()];
            partition.digests.push(match agree {
                Ok((offset, equal)) => DigestView { instances, offset: Some(offset), equal: Some(equal), error: None },
                Err(error) => DigestView { instances, offset: None, equal: None, error: Some(format!("{error:#}")) },
            });
        }
    }
}
