//! Replicas, the messages between them and what each has on disk.
use bytes::Bytes;
use prost::Message as _;
use sampan_api::{Key, Object, Operation, Write, kinds};
use sampan_state::{
    Command, Persisted, Recovered, Replica, ReplicaError, Role, Settings, Store, decode_checkpoint, encode_checkpoint,
    eraftpb::{ConfChangeV2, ConfState, Message, MessageType},
    genesis, give_state, survive,
};
use std::collections::{BTreeMap, BTreeSet};

pub struct Member {
    pub replica: Replica,
    id: u64,
    /// Records as bytes, as a disk has them.
    disk: Vec<Vec<u8>>,
    checkpoint: Option<Vec<u8>>,
    /// States received whole.
    pub snapshots: usize,
    /// Contexts of what was applied without an error.
    acknowledged: BTreeSet<u64>,
}

pub struct Cluster {
    members: BTreeMap<u64, Member>,
    network: Vec<Message>,
    cut: BTreeSet<u64>,
    /// Out of ten messages so many are lost.
    pub loss: u64,
    pub dice: u64,
    written: u64,
}

impl Member {
    /// What is on a disk.
    fn recover(disk: &[Vec<u8>], checkpoint: Option<&Vec<u8>>) -> (Store, Recovered) {
        let mut recovered = Recovered::default();
        let store = match checkpoint {
            Some(bytes) => {
                let (store, header) = decode_checkpoint(bytes).unwrap();
                (recovered.checkpoint_index, recovered.checkpoint_term) = (header.index, header.term);
                recovered.members = header.members.unwrap();
                store
            }
            None => Store::new("test"),
        };
        for record in disk {
            recovered.absorb(Persisted::decode(record.as_slice()).unwrap());
        }
        (store, recovered)
    }

    fn open(id: u64, disk: Vec<Vec<u8>>, checkpoint: Option<Vec<u8>>) -> Self {
        let (store, recovered) = Self::recover(&disk, checkpoint.as_ref());
        let settings = Settings {
            kept_bytes: 128 << 10,
            held_bytes: 512 << 10,
            ..Settings::seeded(id)
        };
        let replica = Replica::new(id, store, recovered, settings).unwrap();
        Member {
            replica,
            id,
            disk,
            checkpoint,
            snapshots: 0,
            acknowledged: BTreeSet::new(),
        }
    }

    fn persist(&mut self, record: Option<Persisted>) {
        self.disk.extend(record.map(|record| record.encode_to_vec()));
    }

    fn state(&self) -> Vec<u8> {
        encode_checkpoint(&self.replica.header(), self.replica.store())
            .flatten()
            .collect()
    }

    /// The message, with the state in it if it is to bring one.
    fn with_state(&self, mut message: Message) -> Message {
        if message.msg_type() == MessageType::MsgSnapshot {
            give_state(&mut message, &self.replica.header());
            message.mut_snapshot().data = self.state().into();
        }
        message
    }

    fn hear(&mut self, message: Message) {
        let _ = match message.msg_type() {
            MessageType::MsgSnapshot => {
                let (store, header) = decode_checkpoint(&message.get_snapshot().data).unwrap();
                self.replica.step_state(message, header, store).map(drop)
            }
            _ => self.replica.step(message),
        };
    }

    /// Does all there is to do; the messages to send.
    fn work(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(output) = self.replica.output().unwrap() {
            messages.extend(output.messages.into_iter().map(|message| self.with_state(message)));
            if output.took_state {
                self.checkpoint = Some(self.state());
                self.snapshots += 1;
            }
            self.persist(output.persist);
            let outcome = self.replica.persisted().unwrap();
            self.persist(outcome.persist);
            messages.extend(outcome.messages.into_iter().map(|message| self.with_state(message)));
            for (context, applied) in outcome.applied {
                if let Ok(context) = <[u8; 8]>::try_from(&context[..])
                    && applied.results.first().is_some_and(Result::is_ok)
                {
                    self.acknowledged.insert(u64::from_le_bytes(context));
                }
            }
        }
        messages
    }
}

impl Cluster {
    pub fn new(ids: &[u64]) -> Self {
        let (store, header) = genesis(
            "test",
            ConfState {
                voters: ids.to_vec(),
                ..ConfState::default()
            },
        );
        let begin: Vec<u8> = encode_checkpoint(&header, &store).flatten().collect();
        let open = |id: &u64| (*id, Member::open(*id, Vec::new(), Some(begin.clone())));
        let members = ids.iter().map(open).collect();
        let mut cluster = Cluster {
            members,
            network: Vec::new(),
            cut: BTreeSet::new(),
            loss: 0,
            dice: 1,
            written: 0,
        };
        cluster.settle();
        cluster
    }

    pub fn member(&self, id: u64) -> &Member {
        &self.members[&id]
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides
    }

    /// Delivers until nothing moves.
    pub fn settle(&mut self) {
        loop {
            for member in self.members.values_mut() {
                self.network.extend(member.work());
            }
            if self.network.is_empty() {
                return;
            }
            for message in std::mem::take(&mut self.network) {
                let lost =
                    self.roll(10) < self.loss || self.cut.contains(&message.from) || self.cut.contains(&message.to);
                if let Some(member) = self.members.get_mut(&message.to).filter(|_| !lost) {
                    member.hear(message);
                }
            }
        }
    }

    /// So many ticks, and what follows from each.
    pub fn steps(&mut self, count: u64) {
        for _ in 0..count {
            self.members.values_mut().for_each(|member| member.replica.tick());
            self.settle();
        }
    }

    /// Goes on until there is a leader whom most follow.
    pub fn elect(&mut self) -> u64 {
        for _ in 0..1000 {
            let leads = |m: &&Member| m.replica.role() == Role::Leader && !self.cut.contains(&m.id);
            if let Some(leader) = self.members.values().filter(leads).max_by_key(|m| m.replica.term()) {
                return leader.id;
            }
            self.steps(1);
        }
        panic!("no leader after 1000 ticks");
    }

    /// Proposes a new namespace with a name of its own.
    pub fn write(&mut self, on: u64) -> Result<(), ReplicaError> {
        let name = format!("ns{}", self.written);
        let object = Object::new(kinds::of_manifest("v1", "Namespace").unwrap(), "", &name);
        let write = Write::new(Key::new("namespaces", "", &name), Operation::Create(object));
        let command = Command {
            now_ms: 1000 * self.written,
            plans: vec![write.into()],
            ..Command::default()
        };
        let context = Bytes::copy_from_slice(&self.written.to_le_bytes());
        self.written += 1;
        self.members.get_mut(&on).unwrap().replica.propose(context, command)
    }

    pub fn change(&mut self, on: u64, changes: &str) {
        let changes = raft_proto::parse_conf_change(changes).unwrap();
        let change = ConfChangeV2 {
            changes,
            ..ConfChangeV2::default()
        };
        self.members
            .get_mut(&on)
            .unwrap()
            .replica
            .propose_members(Bytes::new(), change)
            .unwrap();
        self.settle();
    }

    /// A member that knows nothing yet; the others tell it.
    pub fn join(&mut self, id: u64) {
        self.members.insert(id, Member::open(id, Vec::new(), None));
    }

    /// Only what is on disk is left of a member.
    pub fn crash_and_restart(&mut self, id: u64) {
        let member = self.members.remove(&id).unwrap();
        let mut again = Member::open(id, member.disk, member.checkpoint);
        again.acknowledged = member.acknowledged;
        self.members.insert(id, again);
        self.network.retain(|message| message.to != id);
    }

    /// Only this member's disk is left, without the word of what was committed: it is a group of its own.
    pub fn go_on_alone(&mut self, id: u64) {
        let left = self.members.remove(&id).unwrap();
        self.members.clear();
        self.network.clear();
        let (store, mut recovered) = Member::recover(&left.disk, left.checkpoint.as_ref());
        recovered.hard_state.commit = recovered.checkpoint_index;
        let (store, header) = survive(store, recovered, id, |key, _| *key.name != *"ns0").unwrap();
        let checkpoint = encode_checkpoint(&header, &store).flatten().collect();
        let mut alone = Member::open(id, left.disk, Some(checkpoint));
        alone.acknowledged = left.acknowledged.into_iter().filter(|number| *number > 0).collect();
        self.members.insert(id, alone);
    }

    /// As [`Cluster::crash_and_restart`], and the last records are lost with it; the others notice that it was away.
    pub fn lose_the_end(&mut self, id: u64, records: usize) {
        let disk = &mut self.members.get_mut(&id).unwrap().disk;
        disk.truncate(disk.len() - records);
        self.crash_and_restart(id);
        let others = self.members.values_mut().filter(|member| member.id != id);
        others.for_each(|member| member.replica.unreachable(id));
    }

    pub fn cut(&mut self, id: u64) {
        self.cut.insert(id);
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// A checkpoint of a member, and its log let go of.
    pub fn checkpoint(&mut self, id: u64) {
        let member = self.members.get_mut(&id).unwrap();
        member.checkpoint = Some(member.state());
    }

    pub fn assert_agreement(&self) {
        let digests: BTreeSet<_> = self.members.values().map(|m| m.replica.store().digest()).collect();
        assert_eq!(digests.len(), 1, "the members' states differ");
    }

    /// All that anybody was told was written is in everybody's state.
    pub fn assert_nothing_lost(&self) {
        assert!(self.members.values().any(|member| !member.acknowledged.is_empty()));
        self.members.keys().for_each(|id| self.assert_knows_all(*id));
    }

    /// Whatever any member acknowledged is applied on this one.
    pub fn assert_knows_all(&self, id: u64) {
        let snapshot = self.member(id).replica.store().snapshot();
        for number in self.members.values().flat_map(|member| &member.acknowledged) {
            let key = Key::new("namespaces", "", &format!("ns{number}"));
            assert!(snapshot.get(&key).is_some(), "{id} does not know ns{number}");
        }
    }
}
