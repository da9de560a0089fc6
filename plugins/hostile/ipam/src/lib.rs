//! A plugin that gives pods addresses and misbehaves, in the way that its config says: `{"how": "trap"}`, `"loop"`, `"outside"`
//! (not of the node's range), `"node"` (the node's own), `"taken"` (that of another pod, once there is one) or `"refuse"`.
use sampan_sdk::{
    Value,
    ipam::{Description, Ipam, Pod, Range, description},
};
use std::net::Ipv4Addr;

#[derive(Default)]
pub struct Hostile {
    how: String,
}

impl Ipam for Hostile {
    fn describe() -> Description {
        description("hostile-ipam", env!("CARGO_PKG_VERSION"), "Gives wrong addresses.")
    }

    fn configure(&mut self, config: &Value) -> Result<(), String> {
        self.how = config["how"].as_str().unwrap_or("trap").to_owned();
        Ok(())
    }

    fn claim(&self, pod: &Pod, range: &Range) -> Result<Ipv4Addr, String> {
        let free = range.free().min();
        let first = free.ok_or("none is free")?;
        match &*self.how {
            "loop" => loop {
                std::hint::black_box(0);
            },
            "outside" => Ok(Ipv4Addr::new(169, 254, 169, 254)),
            "node" => Ok(Ipv4Addr::from(u32::from(first) & !0xff | 1)),
            "taken" => {
                let all = (0..=255).map(|last| Ipv4Addr::from(u32::from(first) & !0xff | last));
                Ok(all
                    .into_iter()
                    .find(|one| range.holder(*one).is_some())
                    .unwrap_or(first))
            }
            "refuse" => Err(format!("{} is not liked", pod.name)),
            _ => panic!("as intended"),
        }
    }
}

sampan_sdk::export_ipam!(Hostile);
