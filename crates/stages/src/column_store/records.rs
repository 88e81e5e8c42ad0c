//! Coverage records, found by the file or the identities that a fragment has now.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use lance_backfill_core::commit::{identity_record_path, record_path};
use lance_backfill_core::coverage::CoverageRecord;
use lance_backfill_core::identity::{Identity, Place, record_key};
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::state::Identities;
use lance_backfill_ports::state_store::Created;
use lance_backfill_ports::{Error, Result};

use super::names::identity_record;
use super::{ColumnStore, READ_AT_ONCE};

/// Identity records looked for one by one; above, their folder is listed once.
const FEW_FRAGMENTS: usize = 16;
/// Coverage records remembered; a record is a few hundred bytes for most fragments.
const MOST_REMEMBERED_RECORDS: usize = 50_000;

/// Where a fragment's live record can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordPlace {
    /// Under its identities, or else its file.
    Anywhere,
    /// Under its file, if that is of its identities.
    File,
    /// There is none.
    Nowhere,
}

/// A fragment whose record is looked for.
pub(crate) struct Sought {
    pub(crate) fragment: FragmentId,
    pub(crate) identities: Identities,
    pub(crate) place: Option<Place>,
    pub(crate) record_place: RecordPlace,
}

impl ColumnStore {
    /// The live coverage records of fragments in the given states.
    pub async fn records(
        &self,
        fragments: &[(FragmentId, Identities, Option<Place>)],
    ) -> Result<BTreeMap<FragmentId, Arc<CoverageRecord>>> {
        let fragments: Vec<Sought> = (fragments.iter().cloned())
            .map(|(fragment, identities, place)| Sought {
                fragment,
                identities,
                place,
                record_place: RecordPlace::Anywhere,
            })
            .collect();
        self.find_records(&fragments).await
    }

    /// The same, each looked for where it can be.
    pub(crate) async fn find_records(
        &self,
        fragments: &[Sought],
    ) -> Result<BTreeMap<FragmentId, Arc<CoverageRecord>>> {
        let anywhere = |sought: &&Sought| sought.record_place == RecordPlace::Anywhere;
        let listing = if fragments.iter().filter(anywhere).count() > FEW_FRAGMENTS {
            Some(self.identity_records().await?)
        } else {
            None
        };
        let listing = listing.as_ref();
        let found: Vec<_> = stream::iter(fragments)
            .map(|sought| async move {
                let record = self.record(sought, listing).await?;
                Ok::<_, Error>((sought.fragment, record))
            })
            .buffered(READ_AT_ONCE)
            .try_collect()
            .await?;
        Ok(found
            .into_iter()
            .filter_map(|(fragment, record)| Some((fragment, record?)))
            .collect())
    }

    /// Highest number of each identity's records.
    async fn identity_records(&self) -> Result<HashMap<String, u64>> {
        let mut highest = HashMap::new();
        for object in self.store.list("coverage/id").await? {
            if let Some((key, number)) = identity_record(&object.path) {
                let entry = highest.entry(key).or_insert(number);
                *entry = number.max(*entry);
            }
        }
        Ok(highest)
    }

    async fn record(
        &self,
        sought: &Sought,
        listing: Option<&HashMap<String, u64>>,
    ) -> Result<Option<Arc<CoverageRecord>>> {
        let Sought {
            fragment,
            identities,
            place,
            record_place,
        } = sought;
        let (fragment, place) = (*fragment, place.as_ref());
        // What a copy knew before it was claimed left no trace in its ledger.
        if self.parents.is_empty() {
            match record_place {
                RecordPlace::Nowhere => return Ok(None),
                RecordPlace::File => {
                    let found = self.file_record(fragment, place).await?;
                    let is_of_these = |record: &Arc<CoverageRecord>| {
                        (record.in_id, record.elig_id) == (identities.watched, identities.elig_id)
                    };
                    if let Some(record) = found.filter(is_of_these) {
                        return Ok(Some(record));
                    }
                }
                RecordPlace::Anywhere => {}
            }
        }
        // What this table found out itself counts before anything its parents learn later.
        let mut found = self
            .own_record(fragment, identities, place, listing)
            .await?;
        for parent in &self.parents {
            if found.is_none() {
                found = parent.own_record(fragment, identities, place, None).await?;
            }
        }
        Ok(found)
    }

    async fn own_record(
        &self,
        fragment: FragmentId,
        identities: &Identities,
        place: Option<&Place>,
        listing: Option<&HashMap<String, u64>>,
    ) -> Result<Option<Arc<CoverageRecord>>> {
        // What was found out before an edit is kept under what was watched then.
        for (watched, elig_id) in identities.keys() {
            let key = record_key(fragment, watched, elig_id, identities.out);
            let by_identity = match listing {
                Some(listing) => match listing.get(&key.to_string()) {
                    Some(number) => {
                        self.cached_record(&identity_record_path(key, *number))
                            .await?
                    }
                    None => None,
                },
                None => self.highest_record(key).await?,
            };
            if by_identity.is_some() {
                return Ok(by_identity);
            }
        }
        self.file_record(fragment, place).await
    }

    async fn file_record(
        &self,
        fragment: FragmentId,
        place: Option<&Place>,
    ) -> Result<Option<Arc<CoverageRecord>>> {
        let Some(file) = place.and_then(|place| place.file.as_ref()) else {
            return Ok(None);
        };
        let record = self
            .cached_record(&format!("coverage/file/{file}.json"))
            .await?;
        Ok(record.filter(|record| record.fragment == fragment))
    }

    /// Numbers are dense: the last that is there counts.
    async fn highest_record(&self, key: Identity) -> Result<Option<Arc<CoverageRecord>>> {
        let mut newest = None;
        for number in 0.. {
            match self
                .cached_record(&identity_record_path(key, number))
                .await?
            {
                Some(record) => newest = Some(record),
                None => break,
            }
        }
        Ok(newest)
    }

    async fn cached_record(&self, path: &str) -> Result<Option<Arc<CoverageRecord>>> {
        if let Some(known) = self.cache().records.get(path) {
            return Ok(Some(known.clone()));
        }
        let Some(record) = self.read::<CoverageRecord>(path).await? else {
            return Ok(None);
        };
        let record = Arc::new(record);
        self.remember_record(path, &record);
        Ok(Some(record))
    }

    /// Forgets the records read so far if there are more than this many.
    pub fn forget_records(&self, most: usize) {
        let mut cache = self.cache();
        if cache.records.len() > most {
            cache.records = HashMap::new();
        }
    }

    fn remember_record(&self, path: &str, record: &Arc<CoverageRecord>) {
        let mut cache = self.cache();
        if cache.records.len() >= MOST_REMEMBERED_RECORDS {
            cache.records.clear();
        }
        cache.records.insert(path.to_owned(), record.clone());
    }

    /// Stores a record: under its file, or as the next of its identities.
    ///
    /// A record of a file is written once, before the file is published: the file's name is random,
    /// so what is already there is the same record after a lost answer.
    pub async fn create_record(&self, record: CoverageRecord) -> Result<()> {
        for number in 0.. {
            let path = record_path(&record, number);
            match self.write(&path, &record).await? {
                Created::New => {
                    self.remember_record(&path, &Arc::new(record));
                    return Ok(());
                }
                Created::AlreadyThere if record.file.is_some() => return Ok(()),
                Created::AlreadyThere => {
                    let same = self
                        .cached_record(&path)
                        .await?
                        .is_some_and(|found| *found == record);
                    if same {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}
