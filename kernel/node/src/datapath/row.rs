//! Where the parts of a packet's addresses are loaded to, and small parts of rules.
use super::nft::{Expression, Register, Verdict, expression::*};
use sampan_sandbox::network::Family;

pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// A register for what is needed at once.
pub(super) const SCRATCH: Register = Register(15);

/// `inside4`.
pub(super) fn named(name: &str, family: Family) -> String {
    match family {
        Family::V4 => format!("{name}4"),
        Family::V6 => format!("{name}6"),
    }
}

/// Where the parts of a packet's addresses are loaded to: source, destination, protocol, port, backend and its port, in a
/// row, so that parts of the row are keys of maps.
#[derive(Clone, Copy)]
pub(super) struct Row(pub(super) Family);

impl Row {
    fn width(self) -> u8 {
        match self.0 {
            Family::V4 => 1,
            Family::V6 => 4,
        }
    }

    pub(super) fn source(self) -> Register {
        Register(0)
    }

    pub(super) fn destination(self) -> Register {
        Register(self.width())
    }

    pub(super) fn protocol(self) -> Register {
        Register(2 * self.width())
    }

    pub(super) fn port(self) -> Register {
        Register(2 * self.width() + 1)
    }

    /// The number of a place, too.
    pub(super) fn backend(self) -> Register {
        Register(2 * self.width() + 2)
    }

    pub(super) fn backend_port(self) -> Register {
        Register(3 * self.width() + 2)
    }

    pub(super) fn load_source(self) -> Expression {
        self.load_source_to(self.source())
    }

    pub(super) fn load_source_to(self, to: Register) -> Expression {
        match self.0 {
            Family::V4 => Expression::Payload(Layer::Network, 12, 4, to),
            Family::V6 => Expression::Payload(Layer::Network, 8, 16, to),
        }
    }

    pub(super) fn load_destination(self) -> Expression {
        match self.0 {
            Family::V4 => Expression::Payload(Layer::Network, 16, 4, self.destination()),
            Family::V6 => Expression::Payload(Layer::Network, 24, 16, self.destination()),
        }
    }

    /// The key of a frontend: what the packet is for, or the same at any address of the node.
    pub(super) fn load_frontend(self, at_node: bool) -> Vec<Expression> {
        let destination = if at_node {
            Expression::Value(self.destination(), vec![0; usize::from(self.width()) * 4])
        } else {
            self.load_destination()
        };
        vec![
            destination,
            Expression::Meta(Meta::Protocol, self.protocol()),
            Expression::Payload(Layer::Transport, 2, 2, self.port()),
        ]
    }

    /// The key of a frontend that no packet is for.
    pub(super) fn nobody(self) -> Vec<Expression> {
        vec![
            Expression::Value(self.destination(), vec![0; usize::from(self.width()) * 4]),
            Expression::Value(self.protocol(), number(0)),
            Expression::Value(self.port(), number(0)),
        ]
    }

    /// The same as maps have it.
    pub(super) fn nobody_key(self) -> Vec<u8> {
        vec![0; usize::from(self.width()) * 4 + 8]
    }

    pub(super) fn is_family(self) -> Vec<Expression> {
        let number = match self.0 {
            Family::V4 => 2,
            Family::V6 => 10,
        };
        vec![
            Expression::Meta(Meta::Family, SCRATCH),
            Expression::Equal(SCRATCH, vec![number]),
        ]
    }

    pub(super) fn is_loopback(self) -> Vec<Expression> {
        match self.0 {
            Family::V4 => vec![
                Expression::Payload(Layer::Network, 16, 1, SCRATCH),
                Expression::Equal(SCRATCH, vec![127]),
            ],
            Family::V6 => {
                let mut one = vec![0; 16];
                one[15] = 1;
                vec![self.load_destination(), Expression::Equal(self.destination(), one)]
            }
        }
    }
}

/// A rule of parts.
pub(super) fn rule(parts: impl IntoIterator<Item = Vec<Expression>>) -> Vec<Expression> {
    parts.into_iter().flatten().collect()
}

pub(super) fn verdict(verdict: Verdict) -> Vec<Expression> {
    vec![Expression::Verdict(verdict)]
}

pub(super) fn goto(chain: String) -> Vec<Expression> {
    verdict(Verdict::Goto(chain))
}

pub(super) fn number(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// Does what a map of verdicts has for the number in the scratch register, if it has. The number goes by way of the
/// packet's priority, as the program `nft` knows no rules where one map's value is another one's key: it ends itself when
/// it is to list one. It is the first packet of a connection, and of its priority nothing is left in any case once the
/// kernel passes it on.
pub(super) fn act(map: &str) -> Vec<Expression> {
    vec![
        Expression::SetPriority(SCRATCH),
        Expression::Meta(Meta::Priority, SCRATCH),
        Expression::VerdictMap(map.to_owned(), SCRATCH),
    ]
}

/// What [`act`] has left.
pub(super) fn no_priority() -> Vec<Expression> {
    vec![Expression::Value(SCRATCH, number(0)), Expression::SetPriority(SCRATCH)]
}

/// Goes on if any of the bits is set, or, with `none`, if none is.
pub(super) fn bits(load: Expression, mask: u32, none: bool) -> Vec<Expression> {
    let keep = Expression::Bits(SCRATCH, number(mask), number(0));
    let nothing = number(0);
    let compare = if none {
        Expression::Equal(SCRATCH, nothing)
    } else {
        Expression::Unequal(SCRATCH, nothing)
    };
    vec![load, keep, compare]
}
/// Sets the datapath's bit of the mark.
pub(super) fn mark(bit: u32) -> Vec<Expression> {
    vec![
        Expression::Meta(Meta::Mark, SCRATCH),
        Expression::Bits(SCRATCH, number(!bit), number(bit)),
        Expression::SetMark(SCRATCH),
    ]
}
