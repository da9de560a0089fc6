//! What scores of spreading are made with.
use super::BEST;

const LN_2: f64 = std::f64::consts::LN_2;

/// The natural logarithm of a number from 1 on.
///
/// Written with the four operations alone, which are exact to the bit everywhere: the same policy must place alike as
/// native code and as Wasm, whose mathematical libraries differ in the last bit. x = m·2^e, and ln m = 2·artanh((m-1)/(m+1)).
pub fn ln(number: usize) -> f64 {
    let number = number.max(1);
    let exponent = usize::BITS - 1 - number.leading_zeros();
    let mantissa = number as f64 / (1_u64 << exponent) as f64;
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let (square, mut power, mut sum, mut odd) = (t * t, t, t, 1.0);
    // |t| is at most 1/3: twenty terms are more than the mantissa holds.
    for _ in 0..20 {
        power *= square;
        odd += 2.0;
        sum += power / odd;
    }
    f64::from(exponent) * LN_2 + 2.0 * sum
}

/// The score of a node by the lowest and the highest of all: less is better.
pub fn spread_norm(raw: i64, lowest: i64, highest: i64) -> i64 {
    if highest == 0 {
        BEST
    } else {
        BEST * (highest + lowest - raw) / highest
    }
}
