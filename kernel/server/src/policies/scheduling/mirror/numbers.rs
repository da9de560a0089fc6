//! Small, dense numbers for things that come and go. One is given again only after plugins were told that it is free.

/// Numbers from 1 up to a bound.
#[derive(Debug)]
pub struct Numbers {
    /// Never given are these and above.
    next: u32,
    end: u32,
    free: Vec<u32>,
    /// Given back, and not yet told.
    untold: Vec<u32>,
}

impl Numbers {
    /// All below `end`.
    pub fn below(end: u32) -> Self {
        Numbers {
            next: 1,
            end,
            free: Vec::new(),
            untold: Vec::new(),
        }
    }

    /// One that nobody has. None if all are given.
    pub fn give(&mut self) -> Option<u32> {
        if let Some(number) = self.free.pop() {
            return Some(number);
        }
        (self.next < self.end).then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    pub fn take_back(&mut self, number: u32) {
        self.untold.push(number);
    }

    /// All plugins know by now which numbers are free.
    pub fn told(&mut self) {
        self.free.append(&mut self.untold);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_again_only_after_it_was_told_and_none_beyond_the_bound() {
        let mut numbers = Numbers::below(4);
        assert_eq!([numbers.give(), numbers.give()], [Some(1), Some(2)]);
        numbers.take_back(1);
        assert_eq!([numbers.give(), numbers.give()], [Some(3), None]);
        numbers.told();
        assert_eq!([numbers.give(), numbers.give()], [Some(1), None]);
    }
}
