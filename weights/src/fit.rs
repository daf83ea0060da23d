//! A cost that is linear in its parameters, from measurements.

/// `base + slopes . values`.
#[derive(Clone, PartialEq, Debug)]
pub struct Linear {
	/// Where all parameters are zero.
	pub base: f64,
	/// Per unit of each parameter.
	pub slopes: Vec<f64>,
}

impl Linear {
	/// The cost at some values of the parameters.
	pub fn at(&self, values: &[f64]) -> f64 {
		self.base + self.slopes.iter().zip(values).map(|(slope, value)| slope * value).sum::<f64>()
	}
}

/// The least-squares fit of measurements (values of the parameters, cost), raised until none lies above it: a weight is an upper
/// bound, not a mean. Slopes are not negative.
pub fn upper(points: &[(Vec<f64>, f64)]) -> Linear {
	let parameters = points.first().map_or(0, |(values, _)| values.len());
	let mut used = vec![true; parameters];
	loop {
		let fit = least_squares(points, &used);
		// A cost does not fall with more work: what looks like it is noise.
		match fit.slopes.iter().zip(&used).position(|(slope, used)| *used && *slope < 0.0) {
			Some(falling) => used[falling] = false,
			None => return raised(fit, points),
		}
	}
}

fn raised(mut fit: Linear, points: &[(Vec<f64>, f64)]) -> Linear {
	let above = points.iter().map(|(values, cost)| cost - fit.at(values)).fold(f64::MIN, f64::max);
	fit.base = (fit.base + above).max(0.0);
	fit
}

/// Ordinary least squares over the constant and the used parameters: the normal equations, eliminated.
fn least_squares(points: &[(Vec<f64>, f64)], used: &[bool]) -> Linear {
	let columns: Vec<usize> = (0..used.len()).filter(|column| used[*column]).collect();
	let size = columns.len() + 1;
	let row = |values: &[f64]| -> Vec<f64> {
		std::iter::once(1.0).chain(columns.iter().map(|column| values[*column])).collect()
	};
	let mut system = vec![vec![0.0; size + 1]; size];
	for (values, cost) in points {
		let row = row(values);
		for (i, equation) in system.iter_mut().enumerate() {
			for (j, x) in row.iter().chain([cost]).enumerate() {
				equation[j] += row[i] * x;
			}
		}
	}
	for pivot in 0..size {
		let best = (pivot..size).max_by(|a, b| system[*a][pivot].abs().total_cmp(&system[*b][pivot].abs()));
		system.swap(pivot, best.unwrap_or(pivot));
		let head = system[pivot].clone();
		if head[pivot].abs() < 1e-9 {
			continue;
		}
		for (i, equation) in system.iter_mut().enumerate().filter(|(i, _)| *i != pivot) {
			let factor = equation[pivot] / head[pivot];
			debug_assert!(i != pivot);
			for (x, head) in equation.iter_mut().zip(&head) {
				*x -= factor * head;
			}
		}
	}
	let solution = |i: usize| match system[i][i] {
		pivot if pivot.abs() < 1e-9 => 0.0,
		pivot => system[i][size] / pivot,
	};
	let mut slopes = vec![0.0; used.len()];
	for (i, column) in columns.iter().enumerate() {
		slopes[*column] = solution(i + 1);
	}
	Linear { base: solution(0), slopes }
}

#[cfg(test)]
mod tests {
	use super::*;

	fn points(cost: impl Fn(f64, f64) -> f64) -> Vec<(Vec<f64>, f64)> {
		let values = [(0.0, 50.0), (10.0, 50.0), (20.0, 50.0), (20.0, 0.0), (20.0, 25.0)];
		values.map(|(a, b)| (vec![a, b], cost(a, b))).to_vec()
	}

	#[test]
	fn a_plane_is_found() {
		let fit = upper(&points(|a, b| 100.0 + 3.0 * a + 0.5 * b));
		assert!((fit.base - 100.0).abs() < 1e-6 && (fit.slopes[0] - 3.0).abs() < 1e-6, "{fit:?}");
		assert!((fit.slopes[1] - 0.5).abs() < 1e-6, "{fit:?}");
	}

	#[test]
	fn no_point_lies_above_and_no_slope_falls() {
		let points = points(|a, b| 100.0 - a + if b == 25.0 { 40.0 } else { b });
		let fit = upper(&points);
		assert_eq!(fit.slopes[0], 0.0);
		assert!(points.iter().all(|(values, cost)| fit.at(values) >= cost - 1e-9));
	}

	#[test]
	fn without_parameters_it_is_the_largest() {
		assert_eq!(upper(&[(vec![], 3.0), (vec![], 5.0)]), Linear { base: 5.0, slopes: vec![] });
	}
}
