//! What a Service is given of the pool: one address of each of its families that the pool has, which no other has.
use crate::{LoadBalancer, addresses, age, families, others, pool};
use sampan_sdk::{
    Value,
    controller::{Key, Object, Plan, Snapshot},
};
use std::{collections::BTreeSet, net::IpAddr};

/// The object that says which ranges the cluster has, and those that it has where it says none.
const CLUSTER: (&str, &str) = ("clusters.sampan.dev", "cluster");
const USUAL: [(&str, &str); 2] = [("pods", "10.42.0.0/16"), ("services", "10.96.0.0/12")];

impl LoadBalancer {
    /// In each family the address that it has, that it asks for, or the first that is free.
    pub fn of_pool(
        &self,
        plan: &mut Plan,
        service: &Object,
        known: &BTreeSet<IpAddr>,
        snapshot: &dyn Snapshot,
    ) -> Result<BTreeSet<IpAddr>, String> {
        let taken = taken(service, known, snapshot);
        let families = families(service);
        let asked = self.asked(service, &families, &taken)?;
        let (mut given, mut missing) = (BTreeSet::new(), Vec::new());
        for is_v6 in families {
            let of_family = |address: &&IpAddr| address.is_ipv6() == is_v6;
            let fits = |address: &&IpAddr| self.pool.contains(**address) && !taken.contains(*address);
            let asked = asked.iter().find(of_family);
            let has = asked.or_else(|| known.iter().filter(of_family).find(fits));
            match has.copied().or_else(|| self.pool.free(is_v6, &taken)) {
                Some(address) => drop(given.insert(address)),
                None => missing.push(is_v6),
            }
        }
        let why: Vec<String> = missing.iter().map(|is_v6| self.lacks(*is_v6)).collect();
        if given.is_empty() {
            return Err(why.join("; "));
        }
        // Whoever would like both is content with what there is.
        let is_content = service.spec()["ipFamilyPolicy"] != "RequireDualStack";
        let is_owed = |is_v6: &bool| !is_content || self.pool.has(*is_v6);
        if missing.iter().any(is_owed) {
            plan.warning(service, "AllocationFailed", why.join("; "));
        }
        Ok(given)
    }

    /// The address that a Service asks for, if it does.
    fn asked(&self, service: &Object, families: &[bool], taken: &BTreeSet<IpAddr>) -> Result<Option<IpAddr>, String> {
        let asked = service.spec()["loadBalancerIP"].as_str();
        let Some(asked) = asked.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let said = format!("loadBalancerIP {asked}");
        let address: IpAddr = asked.parse().map_err(|_| format!("{said} is no address"))?;
        if !families.contains(&address.is_ipv6()) {
            let family = pool::family(address.is_ipv6());
            return Err(format!(
                "{said} is of {family}, and ipFamilies of the Service has none of it"
            ));
        }
        match (self.pool.contains(address), taken.contains(&address)) {
            (false, _) => Err(format!("{said} is not in the pool of load balancers")),
            (true, true) => Err(format!("{said} is another Service's")),
            (true, false) => Ok(Some(address)),
        }
    }

    /// Why there is no address of a family.
    fn lacks(&self, is_v6: bool) -> String {
        let family = pool::family(is_v6);
        match self.pool.has(is_v6) {
            true => {
                format!("no address of {family} is free in the pool of load balancers: delete Services, or enlarge it")
            }
            false => format!(
                "the pool of load balancers has no range of {family}, which ipFamilies of the Service has: add one to pool, \
                 in the configuration of the plugin load-balancer"
            ),
        }
    }

    /// Whether the pool is apart from what the cluster gives to pods and Services.
    pub fn is_apart(&self, snapshot: &dyn Snapshot) -> Result<(), String> {
        let cluster = snapshot.get(&Key::new(CLUSTER.0, "", CLUSTER.1));
        let said = cluster.map_or(Value::Null, |cluster| cluster.status()["ranges"].clone());
        for (of, usual) in USUAL {
            let ranges = said[of].as_str().unwrap_or(usual);
            if let Some((own, theirs)) = self.pool.clash(ranges.split(',').map(str::trim)) {
                return Err(format!(
                    "pool, in the configuration of the plugin load-balancer: \"{own}\" overlaps with {theirs}, which the \
                     cluster gives to {of}: choose a range that is apart"
                ));
            }
        }
        Ok(())
    }
}

/// The addresses that are others'. What two were given at once, who decided for both having seen neither, is that of who was
/// made first.
fn taken(service: &Object, known: &BTreeSet<IpAddr>, snapshot: &dyn Snapshot) -> BTreeSet<IpAddr> {
    let mut taken = BTreeSet::new();
    for other in others(service, snapshot) {
        let came_first = age(&other) < age(service);
        let all = addresses(&other).into_iter();
        taken.extend(all.filter(|address| came_first || !known.contains(address)));
    }
    taken
}
