//! Plugins that run on nodes: told of changes, they answer with operations on tables, which are checked and added up.

/// Resources that such a plugin may ask for at the most.
pub const MOST_WATCHES: usize = 32;

/// Makes the plugin of a world whose generated types are in the module `bindings`. The types `Table`, `Op`, `Bounds` and the
/// function `check` are the world's own; `$sum` is what its operations add up to.
macro_rules! planning {
    ($(#[$doc:meta])* $plugin:ident, $world:ident, $policy:ident, $sum:ident) => {
        $(#[$doc])*
        pub struct $plugin {
            pub(crate) instance: $crate::instance::Instance<bindings::$world>,
            /// What it fills, once it was started.
            tables: Vec<Table>,
        }

        impl $plugin {
            pub(crate) fn new(instance: $crate::instance::Instance<bindings::$world>) -> Self {
                $plugin {
                    instance,
                    tables: Vec::new(),
                }
            }

            /// The resources whose changes it wants to be told of.
            ///
            /// # Errors
            /// What it failed with; `Rubbish` if it asks for too many.
            pub fn watches(&mut self) -> Result<Vec<String>, $crate::CallError> {
                let policy = self.instance.world.$policy();
                let watches = self.instance.guarded.call(|store| policy.call_watches(store))?;
                let most = $crate::planning::MOST_WATCHES;
                if watches.len() > most {
                    let what = format!("it watches {} resources, and {most} are the limit", watches.len());
                    return Err(self.instance.guarded.rubbish(what));
                }
                Ok(watches)
            }

            /// Says where it runs, and learns which tables it fills. Comes before `plan`.
            ///
            /// # Errors
            /// What it failed with.
            pub fn start(&mut self, me: &$crate::network::Identity) -> Result<&[Table], $crate::CallError> {
                let policy = self.instance.world.$policy();
                let mut tables = self.instance.guarded.call(|store| policy.call_tables(store))?;
                tables.sort();
                tables.dedup();
                let started = self.instance.guarded.call(|store| policy.call_start(store, me))?;
                started.map_err(|words| self.instance.guarded.refused_for_good(words))?;
                self.tables = tables;
                Ok(&self.tables)
            }

            /// Tells it of changes. What it answers is checked whole, and then part of the sum and returned.
            ///
            /// # Errors
            /// What it failed with; the sum is as it was, and the instance of no more use. A fresh one is told everything on
            /// an empty sum, and its `changes_to` says what differs.
            pub fn plan(
                &mut self,
                deltas: &[$crate::network::Delta],
                bounds: &Bounds,
                sum: &mut $sum,
            ) -> Result<Vec<Op>, $crate::CallError> {
                let policy = self.instance.world.$policy();
                let answer = self.instance.guarded.call(|store| policy.call_plan(store, deltas))?;
                let ops = answer.map_err(|words| self.instance.guarded.refused_for_good(words))?;
                check(&ops, &self.tables, bounds, sum).map_err(|what| self.instance.guarded.rubbish(what))?;
                sum.apply(&ops);
                Ok(ops)
            }

            pub fn figures(&self) -> $crate::Figures {
                self.instance.guarded.figures()
            }
        }
    };
}
pub(crate) use planning;
