//! Kubernetes' quantities: `100m`, `1.5`, `64Mi`, `2e3`.
//!
//! Source: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

/// What a quantity could be wrong by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no quantity: expected a number with an optional suffix (n u m k M G T P E, Ki Mi Gi Ti Pi Ei, e3)")]
pub struct NotAQuantity(String);

/// In whole units, rounded up: bytes of memory, numbers of pods.
///
/// # Errors
/// If the text is no quantity or does not fit.
pub fn units(text: &str) -> Result<i64, NotAQuantity> {
    scaled(text, 1)
}

/// In thousandths, rounded up: CPU.
///
/// # Errors
/// If the text is no quantity or does not fit.
pub fn millis(text: &str) -> Result<i64, NotAQuantity> {
    scaled(text, 1000)
}

fn scaled(text: &str, scale: i128) -> Result<i64, NotAQuantity> {
    let wrong = || NotAQuantity(text.chars().take(64).collect());
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || whole.len() + fraction.len() > 24 || !plain(whole) || !plain(fraction) {
        return Err(wrong());
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().map_err(|_| wrong())?;
    let (multiplier, divisor) = factor(suffix).ok_or_else(wrong)?;
    let divisor = divisor
        .checked_mul(10_i128.pow(fraction.len() as u32))
        .ok_or_else(wrong)?;
    let product = mantissa
        .checked_mul(multiplier)
        .and_then(|p| p.checked_mul(scale))
        .ok_or_else(wrong)?;
    let rounded = product / divisor + i128::from(product % divisor != 0);
    i64::try_from(if negative { -rounded } else { rounded }).map_err(|_| wrong())
}

/// A suffix as multiplier and divisor.
fn factor(suffix: &str) -> Option<(i128, i128)> {
    let power = |base: i128, exponent: u32| base.checked_pow(exponent);
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (power(1000, 2)?, 1),
        "G" => (power(1000, 3)?, 1),
        "T" => (power(1000, 4)?, 1),
        "P" => (power(1000, 5)?, 1),
        "E" => (power(1000, 6)?, 1),
        "Ki" => (1024, 1),
        "Mi" => (power(1024, 2)?, 1),
        "Gi" => (power(1024, 3)?, 1),
        "Ti" => (power(1024, 4)?, 1),
        "Pi" => (power(1024, 5)?, 1),
        "Ei" => (power(1024, 6)?, 1),
        _ => {
            let exponent: i32 = suffix
                .strip_prefix(['e', 'E'])?
                .parse()
                .ok()
                .filter(|e| (-18..=18).contains(e))?;
            let factor = power(10, exponent.unsigned_abs())?;
            if exponent < 0 { (1, factor) } else { (factor, 1) }
        }
    })
}

/// What the containers of a pod ask for together, or what a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    pub milli_cpu: u64,
    /// Bytes.
    pub memory: u64,
    /// Bytes.
    pub ephemeral_storage: u64,
    pub pods: u32,
}

impl Resources {
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Resources {
            milli_cpu: self.milli_cpu.saturating_add(other.milli_cpu),
            memory: self.memory.saturating_add(other.memory),
            ephemeral_storage: self.ephemeral_storage.saturating_add(other.ephemeral_storage),
            pods: self.pods.saturating_add(other.pods),
        }
    }

    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Resources {
            milli_cpu: self.milli_cpu.saturating_sub(other.milli_cpu),
            memory: self.memory.saturating_sub(other.memory),
            ephemeral_storage: self.ephemeral_storage.saturating_sub(other.ephemeral_storage),
            pods: self.pods.saturating_sub(other.pods),
        }
    }

    /// The greater of the two in each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Resources {
            milli_cpu: self.milli_cpu.max(other.milli_cpu),
            memory: self.memory.max(other.memory),
            ephemeral_storage: self.ephemeral_storage.max(other.ephemeral_storage),
            pods: self.pods.max(other.pods),
        }
    }

    /// Whether this, asked for, fits into `free`. Nothing asked of a resource always fits it, as in Kubernetes.
    pub fn fits(self, free: Self) -> bool {
        let fits = |asked: u64, free: u64| asked == 0 || asked <= free;
        fits(self.milli_cpu, free.milli_cpu)
            && fits(self.memory, free.memory)
            && fits(self.ephemeral_storage, free.ephemeral_storage)
            && fits(self.pods.into(), free.pods.into())
    }

    /// From Kubernetes' map of resource names to quantities.
    ///
    /// # Errors
    /// At the first that is no quantity.
    pub fn from_quantities<'a>(map: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, NotAQuantity> {
        let mut sum = Resources::default();
        for (name, text) in map {
            let amount = |value: i64| u64::try_from(value).map_err(|_| NotAQuantity(text.to_owned()));
            match name {
                "cpu" => sum.milli_cpu = amount(millis(text)?)?,
                "memory" => sum.memory = amount(units(text)?)?,
                "ephemeral-storage" => sum.ephemeral_storage = amount(units(text)?)?,
                "pods" => sum.pods = u32::try_from(units(text)?).unwrap_or(u32::MAX),
                _ => {}
            }
        }
        Ok(sum)
    }
}

/// What a pod asks for: the sum of its containers, or the greatest of its init containers if that is more, plus its
/// overhead; and one pod.
///
/// # Errors
/// At the first that is no quantity.
pub fn pod_requests(spec: &k8s_openapi::api::core::v1::PodSpec) -> Result<Resources, NotAQuantity> {
    use k8s_openapi::api::core::v1::Container;
    let of = |container: &Container| {
        let resources = container.resources.as_ref();
        // A limit without a request is the request, as Kubernetes defaults it.
        let mut both = resources.and_then(|r| r.limits.clone()).unwrap_or_default();
        both.extend(resources.and_then(|r| r.requests.clone()).unwrap_or_default());
        Resources::from_quantities(both.iter().map(|(name, quantity)| (name.as_str(), quantity.0.as_str())))
    };
    let mut sum = Resources::default();
    for container in &spec.containers {
        sum = sum.plus(of(container)?);
    }
    for container in spec.init_containers.iter().flatten() {
        let asked = of(container)?;
        // A sidecar (an init container that restarts for ever) runs beside the others.
        sum = if container.restart_policy.as_deref() == Some("Always") {
            sum.plus(asked)
        } else {
            sum.max(asked)
        };
    }
    for overhead in spec.overhead.iter() {
        sum = sum.plus(Resources::from_quantities(
            overhead.iter().map(|(n, q)| (n.as_str(), q.0.as_str())),
        )?);
    }
    Ok(Resources { pods: 1, ..sum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_as_kubernetes_reads_them() {
        for (text, milli) in [
            ("100m", 100),
            ("1", 1000),
            ("1.5", 1500),
            ("0.1", 100),
            ("2e3", 2_000_000),
            ("1u", 1),
        ] {
            assert_eq!(millis(text), Ok(milli), "{text}");
        }
        for (text, bytes) in [
            ("64Mi", 67_108_864),
            ("1G", 1_000_000_000),
            ("1.5Ki", 1536),
            ("128974848", 128_974_848),
        ] {
            assert_eq!(units(text), Ok(bytes), "{text}");
        }
        for text in ["", "Mi", "1.2.3", "1x", "--1", "9999999999E", "1e99", "1-2"] {
            assert!(units(text).is_err(), "{text}");
        }
    }
}
