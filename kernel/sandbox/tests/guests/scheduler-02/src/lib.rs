//! A scheduler of the second edition that answers as its configuration says.
wit_bindgen::generate!({
    path: ["../../../../../wit/lifecycle", "../../../../../wit/scheduler/0.2"],
    world: "sampan:scheduler/scheduler",
    generate_all,
});

use exports::sampan::{lifecycle::lifecycle, scheduler::policy};
use sampan::scheduler::types::{
    Changes, Explanation, Placement, Pod, PodGroup, Refusal, Unplaced, Verdict,
};
use std::cell::RefCell;

thread_local! {
    static CONFIG: RefCell<String> = const { RefCell::new(String::new()) };
}

fn is(word: &str) -> bool {
    CONFIG.with_borrow(|config| config.contains(word))
}

struct Guest;

impl lifecycle::Guest for Guest {
    fn describe() -> lifecycle::Description {
        lifecycle::Description {
            name: "guest-02".to_owned(),
            version: "0.2.0".to_owned(),
            summary: "answers as it is told".to_owned(),
        }
    }

    fn configure(config: String) -> Result<(), String> {
        CONFIG.set(config);
        Ok(())
    }
}

fn refusal() -> Refusal {
    Refusal {
        nodes: 1,
        turned_down: Vec::new(),
        for_its_group: false,
    }
}

fn unplaced(pod: u32) -> Unplaced {
    Unplaced {
        pod,
        refusal: 0,
        nominated: 0,
        victims: Vec::new(),
    }
}

/// None of them has a place.
fn none(pods: u32) -> Placement {
    Placement {
        nodes: vec![0; pods as usize],
        unplaced: (0..pods).map(unplaced).collect(),
        refusals: vec![refusal()],
    }
}

fn all(pods: u32) -> Placement {
    Placement {
        nodes: (1..=pods).collect(),
        unplaced: Vec::new(),
        refusals: Vec::new(),
    }
}

impl policy::Guest for Guest {
    fn sync(base: u64, _: u64, changes: Changes) -> Result<(), String> {
        match is("told") && base != 0 {
            true => Err(format!("{} bound, {} released", changes.bound.len(), changes.released.len())),
            false => Ok(()),
        }
    }

    fn place(pods: Vec<Pod>, _: Vec<PodGroup>) -> Placement {
        let count = pods.len() as u32;
        let mut answer = if is("place") { all(count) } else { none(count) };
        if is("first") {
            answer = all(1);
        }
        if is("nothing") {
            answer = all(0);
        }
        if is("more") {
            answer = all(count + 1);
        }
        if is("silent") {
            answer.unplaced.pop();
        }
        if is("order") {
            answer.unplaced.reverse();
        }
        if is("located") {
            answer.nodes = (1..=count).collect();
        }
        if is("refusal") {
            answer.unplaced[0].refusal = 7;
        }
        if is("chatty") {
            answer.refusals = vec![refusal(); pods.len() + 1];
        }
        if is("nowhere") {
            answer.unplaced[0].victims = vec![9];
        }
        if is("twice") {
            for one in &mut answer.unplaced {
                (one.nominated, one.victims) = (1, vec![9]);
            }
        }
        if is("half") {
            answer = all(2);
        }
        if is("some") {
            answer = all(count);
            answer.nodes[1] = 0;
            answer.unplaced = vec![unplaced(1)];
            answer.refusals = vec![refusal()];
        }
        answer
    }

    fn explain(pod: Pod, most: u32) -> Explanation {
        let verdict = Verdict {
            node: pod.pinned,
            against: Vec::new(),
            scores: Vec::new(),
            total: 3,
        };
        let verdicts = if is("chatty") { most + 1 } else { 1 };
        Explanation {
            node: pod.pinned,
            refusal: refusal(),
            verdicts: vec![verdict; verdicts as usize],
        }
    }
}

export!(Guest);
