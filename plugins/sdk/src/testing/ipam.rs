//! A node that gives its pods addresses as a plugin says.
use crate::ipam::{Holder, Identity, Ipam, Keeper, Pod};
use serde_json::Value;
use std::net::Ipv4Addr;

/// A node whose pods are in 10.42.0.0 with a prefix of your choice.
pub struct Addresses<P: Ipam> {
    keeper: Keeper<P>,
}

impl<P: Ipam> Addresses<P> {
    pub fn new(prefix: u8, config: &Value) -> Self {
        let mut keeper = Keeper::default();
        let config = match config {
            Value::Null => "{}".to_owned(),
            config => config.to_string(),
        };
        if let Err(error) = keeper.configure(&config) {
            panic!("the config was refused: {error}");
        }
        let base = u32::from(Ipv4Addr::new(10, 42, 0, 0));
        keeper.start(Identity {
            node: "a".to_owned(),
            base,
            prefix,
            reserved: vec![base, base + 1, base + ((1 << (32 - prefix)) - 1)],
        });
        Addresses { keeper }
    }

    /// Says that a pod has an address already.
    pub fn keep(&mut self, name: &str, address: &str) {
        let address: Ipv4Addr = address.parse().unwrap_or_else(|_| panic!("{address} is none"));
        self.keeper.keep(vec![Holder {
            pod: pod(name, &[]),
            address: address.into(),
        }]);
    }

    /// Asks for the address of a pod of the namespace `default` with these annotations.
    ///
    /// # Errors
    /// The policy's words.
    pub fn claim(&mut self, name: &str, annotations: &[(&str, &str)]) -> Result<String, String> {
        let address = self.keeper.claim(pod(name, annotations))?;
        Ok(address.to_string())
    }

    pub fn release(&mut self, name: &str) {
        self.keeper.release(name);
    }
}

fn pod(name: &str, annotations: &[(&str, &str)]) -> Pod {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Pod {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        uid: name.to_owned(),
        labels: Vec::new(),
        annotations: annotations.iter().map(owned).collect(),
    }
}
