//! Mistakes that the simulated driver can be told to make: a simulator that finds none of them would be worth nothing.

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident $text:literal;)*) => {
        /// A mistake of the driver.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum Fault {
            #[default]
            None,
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            pub const ALL: &[Fault] = &[$(Fault::$name),*];

            /// Its name on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    Fault::None => "none",
                    $(Fault::$name => $text,)*
                }
            }
        }
    };
}

faults! {
    /// Answers of a follower leave before what they promise is on disk.
    SendBeforePersist "send-before-persist";
    /// Nothing is synced.
    SkipSync "skip-sync";
    /// The vote is not written.
    ForgetVote "forget-vote";
    /// A received state is not written.
    ForgetCheckpoint "forget-checkpoint";
    /// Who writes is answered before anything is committed.
    AnswerEarly "answer-early";
    /// Retries are committed again.
    ForgetKeys "forget-keys";
    /// Everything is proposed twice.
    ProposeTwice "propose-twice";
    /// Reads are answered from whatever there is.
    StaleReads "stale-reads";
    /// Nobody is told what became of a snapshot that was sent.
    SilentSnapshots "silent-snapshots";
    /// A watch gives an event again when it resumes.
    RepeatEvents "repeat-events";
    /// A watch leaves out an event when it resumes.
    SkipEvents "skip-events";
}

impl std::str::FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Fault::ALL.iter().find(|fault| fault.name() == name);
        found.copied().ok_or_else(|| {
            let known: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
            format!("no such fault; there are {}", known.join(", "))
        })
    }
}
