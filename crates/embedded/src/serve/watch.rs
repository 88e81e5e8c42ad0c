//! File events, where the system has them: hints, of which any may be lost.

use std::path::Path;

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// This folder has a new version of a table; it may just have become one.
    Version { table: String, place: usize },
    /// A folder at this place changed.
    Place(usize),
    /// Events were lost.
    Anything,
}

/// Waits for events.
pub(super) struct Watcher {
    #[cfg(target_os = "linux")]
    events: Option<linux::Events>,
}

impl Watcher {
    /// A watcher, and why it will see nothing, if so.
    pub(super) fn start() -> (Self, Option<String>) {
        #[cfg(target_os = "linux")]
        match linux::Events::start() {
            Ok(events) => (
                Self {
                    events: Some(events),
                },
                None,
            ),
            Err(error) => (Self { events: None }, Some(error.to_string())),
        }
        #[cfg(not(target_os = "linux"))]
        (
            Self {},
            Some("file events are read on Linux only".to_owned()),
        )
    }

    pub(super) fn has_events(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.events.is_some();
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Tells of folders that come and go directly in this one, until it goes.
    #[cfg_attr(not(target_os = "linux"), expect(unused_variables))]
    pub(super) fn watch_folder(&mut self, place: usize, folder: &Path) {
        #[cfg(target_os = "linux")]
        if let Some(events) = &mut self.events {
            events.watch(folder, linux::Subject::Folder { place });
        }
    }

    /// Tells of new versions of a table, until its folder of versions goes.
    #[cfg_attr(not(target_os = "linux"), expect(unused_variables))]
    pub(super) fn watch_versions(&mut self, table: &str, place: usize, versions: &Path) {
        #[cfg(target_os = "linux")]
        if let Some(events) = &mut self.events {
            let table = table.to_owned();
            events.watch(versions, linux::Subject::Versions { table, place });
        }
    }

    /// The next event; never comes where there are none.
    pub(super) async fn next(&mut self) -> Notice {
        #[cfg(target_os = "linux")]
        if let Some(events) = &mut self.events {
            return events.next().await;
        }
        std::future::pending().await
    }
}

#[cfg(target_os = "linux")]
mod linux {
    //! inotify: a watch for each folder, found again by its descriptor.

    use std::collections::BTreeMap;
    use std::ffi::OsStr;
    use std::path::Path;

    use futures::StreamExt;
    use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchMask};

    use super::super::place::{MANIFEST, VERSIONS};
    use super::Notice;

    /// Room for some hundred events a read.
    const BUFFER_BYTES: usize = 16 << 10;

    /// What a watched folder is.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(super) enum Subject {
        /// A table's folder of versions.
        Versions { table: String, place: usize },
        /// A folder of tables, or one that may become a table.
        Folder { place: usize },
    }

    pub(super) struct Events {
        stream: EventStream<[u8; BUFFER_BYTES]>,
        /// By watch descriptor: a folder that is watched again keeps its own.
        subjects: BTreeMap<i32, Subject>,
        full: bool,
    }

    impl Events {
        pub(super) fn start() -> std::io::Result<Self> {
            Ok(Self {
                stream: Inotify::init()?.into_event_stream([0; BUFFER_BYTES])?,
                subjects: BTreeMap::new(),
                full: false,
            })
        }

        /// What cannot be watched is polled: a missing folder, or one too many for the system.
        pub(super) fn watch(&mut self, folder: &Path, subject: Subject) {
            let mask = match subject {
                Subject::Versions { .. } => WatchMask::CREATE | WatchMask::MOVED_TO,
                Subject::Folder { .. } => {
                    WatchMask::CREATE
                        | WatchMask::DELETE
                        | WatchMask::MOVED_TO
                        | WatchMask::MOVED_FROM
                }
            };
            let ends = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF | WatchMask::ONLYDIR;
            match self.stream.watches().add(folder, mask | ends) {
                Ok(watch) => {
                    self.subjects
                        .insert(watch.get_watch_descriptor_id(), subject);
                }
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull && !self.full => {
                    self.full = true;
                    tracing::warn!(
                        folder = %folder.display(),
                        "the system watches no more folders for us (fs.inotify.max_user_watches); the rest is polled"
                    );
                }
                Err(error) => {
                    tracing::debug!(folder = %folder.display(), %error, "not watched");
                }
            }
        }

        pub(super) async fn next(&mut self) -> Notice {
            loop {
                match self.stream.next().await {
                    Some(Ok(event)) => {
                        if let Some(notice) = self.read(&event) {
                            return notice;
                        }
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "file events were lost");
                        return Notice::Anything;
                    }
                    // inotify has no end.
                    None => std::future::pending().await,
                }
            }
        }

        fn read(&mut self, event: &EventOwned) -> Option<Notice> {
            if event.mask.contains(EventMask::Q_OVERFLOW) {
                return Some(Notice::Anything);
            }
            let descriptor = event.wd.get_watch_descriptor_id();
            let ends = EventMask::IGNORED | EventMask::DELETE_SELF | EventMask::MOVE_SELF;
            let subject = if event.mask.contains(EventMask::IGNORED) {
                self.subjects.remove(&descriptor)?
            } else {
                self.subjects.get(&descriptor)?.clone()
            };
            let name = event.name.as_deref().unwrap_or(OsStr::new(""));
            match subject {
                Subject::Versions { place, .. } if event.mask.intersects(ends) => {
                    Some(Notice::Place(place))
                }
                Subject::Versions { table, place } => {
                    let new = name.to_string_lossy().ends_with(MANIFEST);
                    new.then_some(Notice::Version { table, place })
                }
                Subject::Folder { place } => {
                    let folders = event.mask.contains(EventMask::ISDIR) || name == VERSIONS;
                    let matters = folders || event.mask.intersects(ends);
                    matters.then_some(Notice::Place(place))
                }
            }
        }
    }
}
