//! Where checkpoints are kept: a folder, or a bucket of an S3-compatible store.

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

const EXPECTED: &str = "expected a folder, file:///folder or s3://bucket/prefix";

/// A folder, or a bucket and a prefix in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointLocation(Place);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Folder(PathBuf),
    /// How to reach the bucket stands in the `AWS_…` variables of the environment.
    Bucket {
        name: String,
        prefix: ObjectPath,
    },
}

/// Objects, and the prefix of ours among them.
pub(super) struct Opened {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) root: ObjectPath,
}

impl CheckpointLocation {
    /// Makes the folder where it is one; a bucket is not asked for anything yet.
    ///
    /// # Errors
    /// What stands in the way, for an operator to read.
    pub(super) fn open(&self) -> Result<Opened, String> {
        match &self.0 {
            Place::Folder(folder) => {
                std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
                let objects = LocalFileSystem::new_with_prefix(folder).map_err(|error| error.to_string())?;
                Ok(Opened { objects: Arc::new(objects.with_fsync(true)), root: ObjectPath::default() })
            }
            Place::Bucket { name, prefix } => {
                let client = |key, value: &str| (AmazonS3ConfigKey::Client(key), value.to_owned());
                // A request moves one part of a file; one that was lost on its way should not hold up the others for long.
                let retry =
                    RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(30), ..Default::default() };
                let (timeout, limit) = client(ClientConfigKey::Timeout, "30s");
                let (connect_timeout, connect_limit) = client(ClientConfigKey::ConnectTimeout, "5s");
                let objects = AmazonS3Builder::from_env()
                    .with_bucket_name(name)
                    .with_config(timeout, limit)
                    .with_config(connect_timeout, connect_limit)
                    .with_retry(retry)
                    .build()
                    .map_err(|error| error.to_string())?;
                Ok(Opened { objects: Arc::new(objects), root: prefix.clone() })
            }
        }
    }
}

impl FromStr for CheckpointLocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix =
                ObjectPath::parse(prefix.trim_end_matches('/')).map_err(|error| format!("{error}; {EXPECTED}"))?;
            let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
            return if is_name { Ok(Self(Place::Bucket { name: name.into(), prefix })) } else { Err(EXPECTED.into()) };
        }
        let folder = text.strip_prefix("file://").unwrap_or(text);
        let is_folder = !folder.is_empty() && !folder.contains("://");
        // What stands between the slashes of a url would be a host.
        let has_host = text.starts_with("file://") && !folder.starts_with('/');
        if is_folder && !has_host { Ok(Self(Place::Folder(folder.into()))) } else { Err(EXPECTED.into()) }
    }
}

impl fmt::Display for CheckpointLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Folder(folder) => write!(f, "{}", folder.display()),
            Place::Bucket { name, prefix } => write!(f, "s3://{name}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_buckets() {
        for (text, shown) in [
            ("./checkpoints", "./checkpoints"),
            ("file:///var/checkpoints", "/var/checkpoints"),
            ("s3://bucket", "s3://bucket/"),
            ("s3://bucket/some/prefix/", "s3://bucket/some/prefix"),
        ] {
            assert_eq!(text.parse::<CheckpointLocation>().unwrap().to_string(), shown);
        }
        for wrong in
            ["", "file://", "file://host/a", "s3://", "s3:///a", "s3://a b/c", "s3://a/b//c", "gs://a/b", "http://a"]
        {
            let refusal = wrong.parse::<CheckpointLocation>().unwrap_err();
            assert!(refusal.contains(EXPECTED), "{wrong}: {refusal}");
        }
    }
}
