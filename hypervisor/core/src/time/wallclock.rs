//! The PC's battery clock: its registers as a date, the date as seconds since 1970.

/// What the battery clock's registers held (MC146818: registers 0, 2, 4, 7, 8, 9, the century's, and status B).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtcReading {
    /// Register 0.
    pub second: u8,
    /// Register 2.
    pub minute: u8,
    /// Register 4.
    pub hour: u8,
    /// Register 7.
    pub day: u8,
    /// Register 8.
    pub month: u8,
    /// Register 9.
    pub year: u8,
    /// The register that the FADT names, if it does.
    pub century: Option<u8>,
    /// Register 11: bit 2 binary rather than BCD, bit 1 24 rather than 12 hours.
    pub status_b: u8,
}

const BINARY: u8 = 1 << 2;
const HOURS_24: u8 = 1 << 1;
const PM: u8 = 1 << 7;

impl RtcReading {
    /// Seconds since 1970; `None` if the registers show no date or time of day.
    pub fn to_unix_secs(&self) -> Option<u64> {
        let second = self.number(self.second)?;
        let minute = self.number(self.minute)?;
        let hour = self.hour_of_day()?;
        let day = self.number(self.day)?;
        let month = self.number(self.month)?;
        let short_year = self.number(self.year).filter(|year| *year < 100)?;
        let year = match self.century.and_then(|century| self.number(century)) {
            Some(century @ 19..=29) => century * 100 + short_year,
            // Without a century, clocks that show 70 to 99 were made before 2000.
            _ if short_year < 70 => 2000 + short_year,
            _ => 1900 + short_year,
        };
        if second > 60
            || minute > 59
            || hour > 23
            || year < 1970
            || !(1..=days_in_month(year, month)?).contains(&day)
        {
            return None;
        }
        let days = days_from_civil(u64::from(year), u64::from(month), u64::from(day));
        Some(((days * 24 + u64::from(hour)) * 60 + u64::from(minute)) * 60 + u64::from(second))
    }

    fn number(&self, register: u8) -> Option<u32> {
        if self.status_b & BINARY != 0 {
            return Some(u32::from(register));
        }
        let (tens, ones) = (u32::from(register >> 4), u32::from(register & 15));
        (tens < 10 && ones < 10).then_some(tens * 10 + ones)
    }

    fn hour_of_day(&self) -> Option<u32> {
        if self.status_b & HOURS_24 != 0 {
            return self.number(self.hour);
        }
        let hour = self
            .number(self.hour & !PM)
            .filter(|hour| (1..=12).contains(hour))?;
        Some(hour % 12 + if self.hour & PM != 0 { 12 } else { 0 })
    }
}

fn days_in_month(year: u32, month: u32) -> Option<u32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar from then on; `month` and `day` count from 1.
pub const fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    // Years that begin in March end with the leap day, which makes the days before a month a linear formula.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let before_year = year * 365 + year / 4 - year / 100 + year / 400;
    let before_month = (153 * month + 2) / 5;
    before_year + before_month + day - 1 - 719_468
}
