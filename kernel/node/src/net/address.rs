//! Which pod has which address. What a pod has is kept with the pod; the pool is filled again from there at each start.
use sampan_api::dual::{self, Dual};
use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// The addresses of a pod, or of the node towards its pods: one of IPv4, and one of IPv6 where the cluster has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub v4: Ipv4Addr,
    pub v6: Option<Ipv6Addr>,
}

impl Addresses {
    /// The primary one first.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(IpAddr::V4(self.v4)).chain(self.v6.map(IpAddr::V6))
    }

    pub fn texts(self) -> Vec<String> {
        self.iter().map(|address| address.to_string()).collect()
    }

    /// Of what a status says; none if there is none of IPv4.
    pub fn of_texts(texts: &[String]) -> Option<Self> {
        Some(Addresses {
            v4: texts.iter().find_map(|text| text.parse().ok())?,
            v6: texts.iter().find_map(|text| text.parse().ok()),
        })
    }
}

impl From<Ipv4Addr> for Addresses {
    fn from(v4: Ipv4Addr) -> Self {
        Addresses { v4, v6: None }
    }
}

/// The addresses of a node's pods: `10.42.0.0/24`, or that and `fd42::/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodCidr {
    base: u32,
    prefix: u8,
    ranges: Dual,
}

impl PodCidr {
    /// The node's own addresses towards its pods: the first of each range.
    pub fn gateway(self) -> Addresses {
        self.both(Ipv4Addr::from(self.base + 1))
    }

    /// Its ranges, one of each family.
    pub fn ranges(self) -> Dual {
        self.ranges
    }

    /// What no pod gets: the range's own, the node's, and the last.
    pub fn reserved(self) -> [Ipv4Addr; 3] {
        [0, 1, self.size() - 1].map(|offset| Ipv4Addr::from(self.base + offset))
    }

    /// How many pods can have an address.
    pub fn room(self) -> u32 {
        self.size() - 3
    }

    fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address).wrapping_sub(self.base) < self.size()
    }

    fn size(self) -> u32 {
        1 << (32 - u32::from(self.prefix))
    }

    /// An address with that of IPv6 which goes with it: as far into its range as the other into its own.
    fn both(self, v4: Ipv4Addr) -> Addresses {
        let offset = u128::from(u32::from(v4).wrapping_sub(self.base));
        let v6 = self
            .ranges
            .v6
            .map(|(base, _)| Ipv6Addr::from(u128::from(base) + offset));
        Addresses { v4, v6 }
    }
}

impl FromStr for PodCidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ranges = dual::of_node(text)?;
        let (base, prefix) = ranges.v4;
        let base = base.into();
        Ok(PodCidr { base, prefix, ranges })
    }
}

impl std::fmt::Display for PodCidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ranges.fmt(f)
    }
}

/// All addresses are taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no address is free in {0}: remove pods, or give the node a larger pod CIDR")]
pub struct NoAddress(String);

/// Gives addresses to pods.
#[derive(Debug)]
pub struct AddressPool {
    /// None: the loopback.
    cidr: Option<PodCidr>,
    /// Where to look next: an address comes round again as late as can be.
    next: u32,
    by_pod: HashMap<String, Ipv4Addr>,
    used: HashMap<Ipv4Addr, String>,
}

impl AddressPool {
    /// From a range, or from the loopback where there is none.
    pub fn new(cidr: Option<PodCidr>) -> Self {
        AddressPool {
            cidr,
            next: 0,
            by_pod: HashMap::new(),
            used: HashMap::new(),
        }
    }

    /// The pod's addresses: those it has, else free ones.
    ///
    /// # Errors
    /// If there are none.
    pub fn claim(&mut self, uid: &str) -> Result<Addresses, NoAddress> {
        if let Some(addresses) = self.of(uid) {
            return Ok(addresses);
        }
        let address = match self.cidr {
            Some(cidr) => self.free(cidr),
            None => self.free_loopback(uid),
        };
        let range = self
            .cidr
            .map_or_else(|| "127.0.0.0/8".to_owned(), |cidr| cidr.to_string());
        let address = address.ok_or(NoAddress(range))?;
        self.keep(uid, address);
        Ok(self.both(address))
    }

    /// The addresses that a pod has.
    pub fn of(&self, uid: &str) -> Option<Addresses> {
        self.by_pod.get(uid).map(|address| self.both(*address))
    }

    fn both(&self, address: Ipv4Addr) -> Addresses {
        self.cidr.map_or_else(|| address.into(), |cidr| cidr.both(address))
    }

    /// Notes the address of IPv4 that a pod has from before; that of IPv6 goes with it.
    pub fn keep(&mut self, uid: &str, address: Ipv4Addr) {
        self.release(uid);
        self.by_pod.insert(uid.to_owned(), address);
        self.used.insert(address, uid.to_owned());
        if let Some(cidr) = self.cidr {
            self.next = self
                .next
                .max(u32::from(address).wrapping_sub(cidr.base))
                .min(cidr.size());
        }
    }

    /// Whether an address can be given that somebody else has chosen.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, address: Ipv4Addr) -> Result<(), String> {
        let Some(cidr) = self.cidr else {
            return Err(format!("{address} is chosen, where pods are on the loopback"));
        };
        if !cidr.contains(address) {
            return Err(format!("{address} is not in {cidr}"));
        }
        if cidr.reserved().contains(&address) {
            return Err(format!("{address} is the node's own, or the first or last of {cidr}"));
        }
        match self.used.get(&address) {
            Some(uid) => Err(format!("{address} is that of the pod with the uid {uid}")),
            None => Ok(()),
        }
    }

    /// The pod does not need one any more.
    pub fn release(&mut self, uid: &str) {
        if let Some(address) = self.by_pod.remove(uid) {
            self.used.remove(&address);
        }
    }

    /// After the last given, round and round. Not what is reserved: the first, the second and the last.
    fn free(&mut self, cidr: PodCidr) -> Option<Ipv4Addr> {
        let usable = cidr.room();
        for step in 0..usable {
            let offset = 2 + (self.next.saturating_sub(1) + step) % usable;
            let address = Ipv4Addr::from(cidr.base + offset);
            if !self.used.contains_key(&address) {
                self.next = if offset + 1 >= cidr.size() - 1 { 0 } else { offset };
                return Some(address);
            }
        }
        None
    }

    /// Somewhere in 127.0.0.0/8 but where others may be: not 127.0.x.y. The same pod is given the same if it can be.
    fn free_loopback(&self, uid: &str) -> Option<Ipv4Addr> {
        (0..1000_u32).find_map(|salt| {
            let mut hasher = std::hash::DefaultHasher::new();
            (uid, salt).hash(&mut hasher);
            let [a, b, c, ..] = hasher.finish().to_be_bytes();
            let address = Ipv4Addr::new(127, 1 + a % 254, b, 1 + c % 254);
            (!self.used.contains_key(&address)).then_some(address)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(cidr: &str) -> AddressPool {
        AddressPool::new(Some(cidr.parse().unwrap()))
    }

    #[test]
    fn each_pod_has_its_own_until_released_and_none_comes_back_at_once() {
        let mut pool = pool("10.42.0.0/29");
        let first: Vec<String> = (0..5)
            .map(|n| pool.claim(&n.to_string()).unwrap().v4.to_string())
            .collect();
        assert_eq!(first, ["10.42.0.2", "10.42.0.3", "10.42.0.4", "10.42.0.5", "10.42.0.6"]);
        assert_eq!(pool.claim("3").unwrap().texts(), ["10.42.0.5"]);
        assert!(pool.claim("x").unwrap_err().to_string().contains("10.42.0.0/29"));
        pool.release("1");
        assert_eq!(pool.claim("x").unwrap().texts(), ["10.42.0.3"]);
    }

    #[test]
    fn the_last_given_is_the_last_to_be_given_again() {
        let mut pool = pool("10.42.0.0/24");
        let a = pool.claim("a").unwrap();
        pool.release("a");
        assert_ne!(pool.claim("b").unwrap(), a);
    }

    #[test]
    fn both_families_go_together() {
        let mut pool = pool("10.42.3.0/24,fd42:0:0:3::/64");
        assert_eq!(pool.claim("a").unwrap().texts(), ["10.42.3.2", "fd42:0:0:3::2"]);
        pool.keep("old", Ipv4Addr::new(10, 42, 3, 200));
        assert_eq!(pool.of("old").unwrap().texts(), ["10.42.3.200", "fd42:0:0:3::c8"]);
        let texts = pool.claim("b").unwrap().texts();
        assert_eq!(Addresses::of_texts(&texts), pool.of("b"));
        assert_eq!(Addresses::of_texts(&["fd42::1".to_owned()]), None);
    }

    #[test]
    fn what_is_kept_is_not_given() {
        let mut pool = pool("10.42.0.0/24");
        pool.keep("old", Ipv4Addr::new(10, 42, 0, 2));
        assert_ne!(pool.claim("new").unwrap().v4, Ipv4Addr::new(10, 42, 0, 2));
        assert_eq!(pool.claim("old").unwrap().v4, Ipv4Addr::new(10, 42, 0, 2));
    }

    #[test]
    fn what_somebody_else_chooses_is_checked() {
        let mut pool = pool("10.42.0.0/24");
        pool.keep("old", Ipv4Addr::new(10, 42, 0, 9));
        let check = |pool: &AddressPool, text: &str| pool.check(text.parse().unwrap());
        for (wrong, why) in [
            ("10.42.1.9", "not in 10.42.0.0/24"),
            ("10.41.255.255", "not in"),
            ("10.42.0.0", "the node's own"),
            ("10.42.0.1", "the node's own"),
            ("10.42.0.255", "the node's own"),
            ("10.42.0.9", "the pod with the uid old"),
        ] {
            let said = check(&pool, wrong).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        for good in ["10.42.0.2", "10.42.0.254"] {
            assert_eq!(check(&pool, good), Ok(()), "{good}");
        }
        pool.release("old");
        assert_eq!(check(&pool, "10.42.0.9"), Ok(()));
        assert!(check(&AddressPool::new(None), "127.5.0.1").is_err());
    }

    #[test]
    fn loopback_addresses_are_stable_and_apart() {
        let mut pool = AddressPool::new(None);
        let a = pool.claim("a").unwrap();
        assert!(a.v4.is_loopback() && a.v4.octets()[1] != 0 && a.v6.is_none());
        assert_eq!(AddressPool::new(None).claim("a").unwrap(), a);
        let many: std::collections::HashSet<_> = (0..500).map(|n| pool.claim(&n.to_string()).unwrap().v4).collect();
        assert_eq!(many.len(), 500);
    }

    #[test]
    fn a_wrong_range_says_what_is_right() {
        assert!(
            "10.42.0.1/24"
                .parse::<PodCidr>()
                .unwrap_err()
                .contains("did you mean 10.42.0.0/24?")
        );
        for wrong in ["10.42.0.0", "10.42.0.0/31", "fd00::/64", "x/24", ""] {
            assert!(
                wrong.parse::<PodCidr>().unwrap_err().contains("as in 10.42.0.0/24"),
                "{wrong}"
            );
        }
        let cidr: PodCidr = "10.42.0.0/16".parse().unwrap();
        assert_eq!(
            (cidr.gateway().texts(), cidr.to_string()),
            (vec!["10.42.0.1".into()], "10.42.0.0/16".into())
        );
        let both: PodCidr = "10.42.0.0/24,fd42::/64".parse().unwrap();
        assert_eq!(both.gateway().texts(), ["10.42.0.1", "fd42::1"]);
    }
}
