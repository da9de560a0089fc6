//! The group as its clients see it: who leads, who is how far, what each server answers.
use crate::{
    group::{ANSWER, Group, HOSTS, PATIENCE, SERVERS},
    load::read,
};
use sampan_api::rpc;
use sampan_cli::{
    contexts::{Access, Contexts},
    session::Session,
};
use std::time::{Duration, Instant};

impl Group {
    /// A session with one server, whichever it is, as an administrator.
    pub fn session(&self, host: usize) -> Session {
        let access = Access {
            server: format!("https://{}", self.addresses[host]),
            ..self.access.clone()
        };
        Session::open(&access, ANSWER).unwrap()
    }

    /// A session that knows all servers, this one first.
    pub fn session_from(&self, first: usize) -> Session {
        let all = (0..SERVERS).map(|number| format!("https://{}", self.addresses[(first + number) % SERVERS]));
        let access = Access {
            server: all.collect::<Vec<_>>().join(","),
            ..self.access.clone()
        };
        Session::open(&access, ANSWER).unwrap()
    }

    /// As [`Group::session`], of somebody who trusts this group and shows what the cluster of another host made out.
    pub fn session_of(&self, other: usize, host: usize) -> Session {
        let contexts = Contexts::load(&self.home(other).join("config")).unwrap();
        let access = Access {
            server: format!("https://{}", self.addresses[host]),
            ca_pem: self.access.ca_pem.clone(),
            ..contexts.access(None).unwrap()
        };
        Session::open(&access, ANSWER).unwrap()
    }

    /// What a server says of the group, without asking another.
    pub async fn status(&self, host: usize) -> Option<rpc::StatusResponse> {
        let session = self.session(host);
        let asked = session.once(async { session.cluster().status(rpc::StatusRequest { here: true }).await });
        asked.await.ok()
    }

    /// Who leads in the newest term, as these say; waits until one of them does.
    pub async fn leader_of(&self, hosts: &[usize]) -> usize {
        let began = Instant::now();
        loop {
            let mut newest = None;
            for host in hosts {
                let Some(status) = self.status(*host).await else {
                    continue;
                };
                let own = format!("s{host}");
                let leads = |member: &rpc::Member| member.role == "leader" && member.name == own;
                if status.members.iter().any(leads) {
                    newest = newest.max(Some((status.raft_term, *host)));
                }
            }
            if let Some((_, host)) = newest {
                return host;
            }
            assert!(began.elapsed() < PATIENCE, "nobody leads: {}", self.all_said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn leader(&self) -> usize {
        self.leader_of(&[0, 1, 2]).await
    }

    /// Waits until all are voters, as the leader knows, and each answers a read, for which it must be as far as the leader.
    pub async fn settled(&self) {
        let began = Instant::now();
        loop {
            let leader = self.leader().await;
            let members = self
                .status(leader)
                .await
                .map(|status| status.members)
                .unwrap_or_default();
            let fine = |member: &rpc::Member| {
                member.role != "learner" && member.active && member.lag.is_none_or(|lag| lag < 100)
            };
            if members.len() == SERVERS && members.iter().all(fine) && self.all_answer().await {
                return;
            }
            let late = began.elapsed() > PATIENCE;
            assert!(!late, "they never came together: {members:?}\n{}", self.all_said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn all_answer(&self) -> bool {
        for host in 0..SERVERS {
            if read(&self.session(host), "no-such").await.is_err() {
                return false;
            }
        }
        true
    }

    pub fn all_said(&self) -> String {
        let of = |host| format!("--- s{host}\n{}", self.said(host));
        (0..HOSTS).map(of).collect()
    }
}
