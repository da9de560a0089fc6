//! The datapath in the kernel, and what is wanted of it.
use super::{
    DatapathError, PodLink, Settings,
    changes::Changes,
    connections::Connections,
    forwarding,
    layout::{FIRST, TURNS},
    nft::{Batch, SendError, Socket},
    routes::{Routes, Undo},
    state::{Changed, State},
};
use sampan_sandbox::network::{Datapath, Entry, FrontendKey, Op, PodKey};
use std::{collections::BTreeMap, io, time::Instant};

/// How often a change is tried again that others' changes of the firewall came between.
const MOST_TRIES: usize = 16;

/// The maps whose elements rules make, and which a new table takes over.
const NOTED: [&str; 2] = ["affinity4", "affinity6"];

const MOST_NOTED: usize = 100_000;

/// What a change took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Bytes that were said to the kernel's nf_tables; 0 if nothing differed.
    pub bytes: usize,
    /// Somebody had changed or removed what is ours, so all of it was made anew.
    pub mended: bool,
}

/// The datapath of a node, in the network namespace of the thread that opened it, which is to call it ever after.
/// Everything here blocks: for microseconds with a change, or ten milliseconds where backends left, for some milliseconds for
/// each ten thousand Services with a whole.
///
/// What is refused changes nothing. Dropped, it leaves everything in the kernel, for the next to replace.
pub struct KernelDatapath {
    settings: Settings,
    socket: Socket,
    routes: Routes,
    state: State,
    connections: Connections,
    known: Option<Known>,
}

/// The table as we left it.
#[derive(Clone, Copy)]
struct Known {
    /// Nobody has changed any table as long as this is the kernel's.
    generation: u32,
    /// Tells our table from one that was made after it.
    handle: u64,
}

impl KernelDatapath {
    /// Prepares the kernel to pass packets on; nothing else in it changes yet.
    ///
    /// # Errors
    /// If the settings make no sense, or the kernel has no nf_tables or does not let us.
    pub fn open(settings: Settings) -> Result<Self, DatapathError> {
        settings.check()?;
        let mut socket = Socket::open().map_err(DatapathError::of_nftables)?;
        socket.generation().map_err(DatapathError::of_nftables)?;
        forwarding::enable(settings.forwards())?;
        Ok(KernelDatapath {
            routes: Routes::open(&settings)?,
            state: State::default(),
            connections: Connections::default(),
            known: None,
            settings,
            socket,
        })
    }

    /// Makes the datapath this, whatever was there: in one step, at no moment without rules.
    ///
    /// # Errors
    /// What cannot be; then all is as it was.
    pub fn replace(&mut self, wanted: &Datapath, pods: &BTreeMap<PodKey, PodLink>) -> Result<Done, DatapathError> {
        self.replace_with(wanted.entries(), pods)
    }

    /// As [`KernelDatapath::replace`], by the entries.
    ///
    /// # Errors
    /// What cannot be; then all is as it was.
    pub fn replace_with<'a>(
        &mut self,
        wanted: impl IntoIterator<Item = &'a Entry>,
        pods: &BTreeMap<PodKey, PodLink>,
    ) -> Result<Done, DatapathError> {
        let (mut next, mut changes) = State::begin(&self.settings)?;
        let changed: Changed<'_> = wanted.into_iter().map(|entry| (entry.key(), Some(entry))).collect();
        next.change(&changed, &self.settings, &mut changes)?;
        next.change_pods(pods, &mut changes)?;
        self.make_anew(next, changes)
    }

    /// Carries out operations, which were checked, in one step. Costs what differs.
    ///
    /// # Errors
    /// What cannot be; then all is as it was.
    pub fn change(&mut self, ops: &[Op]) -> Result<Done, DatapathError> {
        let changed: Changed<'_> = ops
            .iter()
            .map(|op| match op {
                Op::Set(entry) => (entry.key(), Some(entry)),
                Op::Remove(key) => (key.clone(), None),
            })
            .collect();
        self.bring(|next, settings, changes| next.change(&changed, settings, changes))
    }

    /// Says which pods are here. A pod that is not can send nothing, so it comes before its first packet.
    ///
    /// # Errors
    /// What cannot be; then all is as it was.
    pub fn set_pods(&mut self, pods: &BTreeMap<PodKey, PodLink>) -> Result<Done, DatapathError> {
        self.bring(|next, _, changes| next.change_pods(pods, changes))
    }

    /// How many connections each frontend has led to a backend since the table was made; of UDP, how many times a client's port
    /// was given one. Takes a listing.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn connections(&mut self) -> Result<BTreeMap<FrontendKey, u64>, DatapathError> {
        let counted = self.state.frontends.counted(&mut self.socket, &self.settings.table);
        counted.map_err(DatapathError::step("list what frontends have counted"))
    }

    /// Whether others left what is ours alone. Costs microseconds where nobody changed any firewall of this network
    /// namespace, else a listing.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn is_intact(&mut self) -> Result<bool, DatapathError> {
        Ok(self.table_is_intact()? && self.routes.are(&self.state.routes)?)
    }

    /// Makes all anew if others changed it, and has packets passed on if they are not.
    ///
    /// # Errors
    /// What cannot be.
    pub fn mend(&mut self) -> Result<Done, DatapathError> {
        let mended = forwarding::enable(self.settings.forwards())?;
        if self.known.is_none() || self.is_intact()? {
            return Ok(Done { bytes: 0, mended });
        }
        let (next, changes) = self.state.anew(&self.settings)?;
        let done = self.make_anew(next, changes)?;
        Ok(Done { mended: true, ..done })
    }

    /// When [`KernelDatapath::forget`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.connections.due()
    }

    /// Has connections to backends that left go elsewhere. A change does so itself, unless one just did.
    pub fn forget(&mut self) {
        let (frontends, services) = (&self.state.frontends, &self.settings.service_ranges);
        self.connections.forget(&mut self.socket, frontends, services);
    }

    /// Removes the table and the routes.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn clear(mut self) -> Result<(), DatapathError> {
        let mut batch = Batch::new(&self.settings.table, None);
        batch.table();
        batch.delete_table();
        let removed = self.socket.submit(&mut batch);
        self.routes.clear()?;
        removed.map_err(|error| DatapathError::of_batch(error, &[]))
    }

    fn bring(
        &mut self,
        change: impl FnOnce(&mut State, &Settings, &mut Changes) -> Result<(), DatapathError>,
    ) -> Result<Done, DatapathError> {
        let (mut next, mut changes) = (self.state.clone(), Changes::default());
        change(&mut next, &self.settings, &mut changes)?;
        let Some(known) = self.known else {
            // There is no table yet.
            let (next, changes) = next.anew(&self.settings)?;
            return self.make_anew(next, changes);
        };
        let undo = self.routes.change(&self.state.routes, &next.routes)?;
        match self.submit_change(known, &changes) {
            Ok(Some(bytes)) => {
                self.take(next, changes);
                Ok(Done { bytes, mended: false })
            }
            Ok(None) => self.mend_to(&next, undo, None),
            // Then what is there is not what we think, or it cannot be at all.
            Err(error) if error.is_disagreement() => {
                self.mend_to(&next, undo, Some(DatapathError::of_batch(error, &changes.origins)))
            }
            Err(error) => {
                self.routes.undo(undo);
                Err(DatapathError::of_batch(error, &changes.origins))
            }
        }
    }

    /// Makes all anew, as it shall be. The first error is what is told, if there was one.
    fn mend_to(&mut self, next: &State, undo: Undo, first: Option<DatapathError>) -> Result<Done, DatapathError> {
        let made = next
            .anew(&self.settings)
            .and_then(|(next, changes)| self.make_anew(next, changes));
        match made {
            Ok(done) => Ok(Done { mended: true, ..done }),
            Err(error) => {
                self.routes.undo(undo);
                Err(first.unwrap_or(error))
            }
        }
    }

    /// Says what changes; the bytes of it, or nothing if the table is not ours any more.
    fn submit_change(&mut self, mut known: Known, changes: &Changes) -> Result<Option<usize>, SendError> {
        for _ in 0..MOST_TRIES {
            let mut batch = Batch::new(&self.settings.table, Some(known.generation));
            changes.write(&mut batch);
            if batch.is_empty() {
                return Ok(Some(0));
            }
            match self.socket.submit(&mut batch) {
                Ok(()) => {
                    known.generation = after(known.generation);
                    self.known = Some(known);
                    return Ok(Some(batch.len()));
                }
                Err(SendError::Raced) => {}
                Err(error) => return Err(error),
            }
            if !self.table_is_intact().map_err(|_| SendError::Unknown)? {
                return Ok(None);
            }
            known = self.known.ok_or(SendError::Unknown)?;
        }
        Err(SendError::Raced)
    }

    fn make_anew(&mut self, next: State, mut changes: Changes) -> Result<Done, DatapathError> {
        let undo = self.routes.bring(&next.routes)?;
        // Where there never was a table, nothing can have been decided by it.
        let decided = self.known.is_some() || !matches!(self.socket.table_handle(&self.settings.table), Ok(None));
        changes.left.any &= decided;
        match self.submit_whole(&changes) {
            Ok(bytes) => {
                self.take(next, changes);
                Ok(Done { bytes, mended: false })
            }
            Err(error) => {
                self.routes.undo(undo);
                Err(DatapathError::of_batch(error, &changes.origins))
            }
        }
    }

    /// The kernel has it.
    fn take(&mut self, mut next: State, changes: Changes) {
        changes.count(&mut next.census);
        self.state = next;
        self.connections.note(changes.left);
        self.forget();
    }

    fn submit_whole(&mut self, changes: &Changes) -> Result<usize, SendError> {
        for _ in 0..MOST_TRIES {
            let generation = self.socket.generation().map_err(SendError::Io)?;
            let mut batch = Batch::new(&self.settings.table, Some(generation));
            batch.table();
            batch.delete_table();
            batch.table();
            batch.later(self.turn().map_err(SendError::Io)?);
            changes.write(&mut batch);
            for map in NOTED {
                let noted = self.noted(map);
                batch.add(map, noted.iter().map(|element| (u32::MAX, element)));
            }
            match self.socket.submit(&mut batch) {
                Ok(()) => {
                    let handle = self.socket.table_handle(&self.settings.table).map_err(SendError::Io)?;
                    self.known = handle.map(|handle| Known {
                        generation: after(generation),
                        handle,
                    });
                    return Ok(batch.len());
                }
                Err(SendError::Raced | SendError::Unknown) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SendError::Raced)
    }

    /// How much later than in its first turn a new table's chains are entered, so that it is after those of the old one.
    fn turn(&mut self) -> io::Result<i32> {
        let had = self.socket.priority(&self.settings.table, "spoofing")?;
        let next = had.map_or(0, |had| had.saturating_sub(FIRST).saturating_add(1));
        Ok(if (0..TURNS).contains(&next) { next } else { 0 })
    }

    /// Which clients stay with which backends. If that cannot be read they are sent to any.
    fn noted(&mut self, map: &str) -> Vec<super::nft::Element> {
        let noted = self.socket.noted(&self.settings.table, map, MOST_NOTED);
        noted.unwrap_or_default()
    }

    fn table_is_intact(&mut self) -> Result<bool, DatapathError> {
        let Some(mut known) = self.known else {
            return Ok(false);
        };
        for _ in 0..MOST_TRIES {
            let generation = self.socket.generation().map_err(DatapathError::of_nftables)?;
            if generation == known.generation {
                return Ok(true);
            }
            let listing = DatapathError::step("list what is in the table");
            match self.is_as_left(known.handle) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(false),
                Err(error) => return Err(listing(error)),
            }
            // What changes while it is looked at is looked at again.
            known.generation = generation;
            self.known = Some(known);
        }
        Err(DatapathError::Raced)
    }

    fn is_as_left(&mut self, handle: u64) -> io::Result<bool> {
        let table = &self.settings.table;
        let is_ours = self.socket.table_handle(table)? == Some(handle);
        Ok(is_ours && self.state.census.is_of(&mut self.socket, table)?)
    }
}

/// The kernel counts its generations, and leaves out 0.
fn after(generation: u32) -> u32 {
    match generation.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}
