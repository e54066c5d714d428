// The clock and its RAM behind ports 70h and 71h, which firmware reads its settings from. Specification: Motorola
// MC146818A real-time clock plus RAM, 1984; it runs by the protocol's clock.

export const RTC_INDEX_PORT = 0x70;
export const RTC_DATA_PORT = 0x71;

const CELLS = 128;
/** Time and alarms (MC146818A table 3), the control registers, and where PCs keep the century. */
const SECONDS = 0;
const SECONDS_ALARM = 1;
const MINUTES = 2;
const MINUTES_ALARM = 3;
const HOURS = 4;
const HOURS_ALARM = 5;
const WEEKDAY = 6;
const DAY = 7;
const MONTH = 8;
const YEAR = 9;
const A = 10;
const B = 11;
const C = 12;
const D = 13;
const CENTURY = 0x32;
const TIME = [SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR, CENTURY] as const;
/** Register A: update in progress; the divider for 32768 Hz and a rate of 1024 Hz. */
const UPDATING = 0x80;
const A_START = 0x26;
/** Register B: time is being set, the enables of its interrupts, binary numbers, 24 hours. */
const SETTING = 0x80;
const BINARY = 0x04;
const HOURS_24 = 0x02;
/** Register C, in the places of B's enables: periodic, alarm, update; and any of them that is enabled. */
const PERIODIC = 0x40;
const ALARM = 0x20;
const UPDATE = 0x10;
const CAUSES = PERIODIC | ALARM | UPDATE;
const REQUEST = 0x80;
/** Register D: the battery was never empty. */
const VALID = 0x80;
const PM = 0x80;
/** An alarm with both of these bits fits any value. */
const ANY = 0xc0;
const SECOND_NS = 1e9;
const CRYSTAL_HZ = 32768;
const DAY_SECONDS = 86400;

export interface RtcState {
  readonly cells: readonly number[];
  readonly index: number;
  readonly base: number;
  readonly now: number;
}

export class Rtc {
  readonly #cells = new Uint8Array(CELLS);
  #index = 0;
  /** Seconds since 1970 when the protocol's clock is 0. */
  #base: number;
  /** The protocol's clock, in ns. */
  #now = 0;

  /** `startSeconds`: the time at which the machine starts, in seconds since 1970. */
  constructor(startSeconds: number) {
    this.#base = startSeconds;
    this.#cells[A] = A_START;
    this.#cells[B] = HOURS_24;
    this.#cells[D] = VALID;
  }

  /** Puts a setting into the RAM. */
  set(at: number, value: number): void {
    this.#cells[at] = value;
  }

  /** Its interrupt is raised: input 8. */
  get interrupt(): boolean {
    return (this.#cell(C) & REQUEST) !== 0;
  }

  read(port: number): number {
    if (port === RTC_INDEX_PORT) return 0xff;
    const at = this.#index;
    if (TIME.some((cell) => cell === at)) this.#show();
    const value = this.#cell(at);
    if (at === C) this.#cells[C] = 0;
    return value;
  }

  write(port: number, value: number): void {
    if (port === RTC_INDEX_PORT) this.#index = value & (CELLS - 1);
    else this.#writeCell(this.#index, value & 0xff);
  }

  #writeCell(at: number, value: number): void {
    if (at === C || at === D) return;
    this.#show();
    const wasSetting = this.#isSetting;
    this.#cells[at] = at === A ? value & ~UPDATING : value;
    if (at === B) {
      // Setting switches the interrupt at the end of updates off (MC146818A, register B).
      if (this.#isSetting) this.#cells[B] = value & ~UPDATE;
      if (wasSetting && !this.#isSetting) this.#take();
      this.#request(0);
    } else if (!wasSetting && TIME.some((cell) => cell === at)) this.#take();
  }

  // Time.

  /** The protocol's clock is at `now` ns. */
  advance(now: number): void {
    const [before, seconds] = [Math.floor(this.#now / SECOND_NS), Math.floor(now / SECOND_NS)];
    const period = this.#periodNs;
    let causes = 0;
    if (period > 0 && Math.floor(now / period) > Math.floor(this.#now / period)) causes |= PERIODIC;
    if (seconds > before && !this.#isSetting) {
      causes |= UPDATE;
      const first = Math.max(before + 1, seconds - DAY_SECONDS);
      for (let at = first; at <= seconds && (causes & ALARM) === 0; at++)
        if (this.#isAlarm(at)) causes |= ALARM;
    }
    this.#now = now;
    if (causes !== 0) this.#request(causes);
  }

  /** When it next has to say something that somebody wants to hear, in ns of the protocol's clock. */
  nextDeadline(): number {
    const enabled = this.#cell(B);
    const period = this.#periodNs;
    const next = (step: number): number => Math.ceil((Math.floor(this.#now / step) + 1) * step);
    const tick = (enabled & PERIODIC) !== 0 && period > 0 ? next(period) : Number.POSITIVE_INFINITY;
    const second = (enabled & (ALARM | UPDATE)) !== 0 ? next(SECOND_NS) : Number.POSITIVE_INFINITY;
    return Math.min(tick, second);
  }

  /** 0: no periodic interrupt. The two fastest rates stand for slower ones (MC146818A table 5). */
  get #periodNs(): number {
    const rate = this.#cell(A) & 0x0f;
    if (rate === 0) return 0;
    return (2 ** ((rate < 3 ? rate + 7 : rate) - 1) / CRYSTAL_HZ) * SECOND_NS;
  }

  get #isSetting(): boolean {
    return (this.#cell(B) & SETTING) !== 0;
  }

  #request(causes: number): void {
    const all = (this.#cell(C) & CAUSES) | causes;
    this.#cells[C] = all | ((all & this.#cell(B)) !== 0 ? REQUEST : 0);
  }

  #isAlarm(seconds: number): boolean {
    const date = new Date((this.#base + seconds) * 1000);
    const fits = (at: number, value: number): boolean =>
      (this.#cell(at) & ANY) === ANY || this.#cell(at) === value;
    return (
      fits(SECONDS_ALARM, this.#coded(date.getUTCSeconds())) &&
      fits(MINUTES_ALARM, this.#coded(date.getUTCMinutes())) &&
      fits(HOURS_ALARM, this.#codedHour(date.getUTCHours()))
    );
  }

  /** Puts the time into its cells, unless software is setting it. */
  #show(): void {
    if (this.#isSetting) return;
    const date = new Date((this.#base + Math.floor(this.#now / SECOND_NS)) * 1000);
    const year = date.getUTCFullYear();
    const cells = this.#cells;
    cells[SECONDS] = this.#coded(date.getUTCSeconds());
    cells[MINUTES] = this.#coded(date.getUTCMinutes());
    cells[HOURS] = this.#codedHour(date.getUTCHours());
    cells[WEEKDAY] = this.#coded(date.getUTCDay() + 1);
    cells[DAY] = this.#coded(date.getUTCDate());
    cells[MONTH] = this.#coded(date.getUTCMonth() + 1);
    cells[YEAR] = this.#coded(year % 100);
    cells[CENTURY] = this.#coded(Math.floor(year / 100));
  }

  /** Goes on from what is in the cells. */
  #take(): void {
    const year = this.#decoded(this.#cell(CENTURY)) * 100 + this.#decoded(this.#cell(YEAR));
    const [month, day] = [this.#decoded(this.#cell(MONTH)) - 1, this.#decoded(this.#cell(DAY))];
    const [minutes, seconds] = [this.#decoded(this.#cell(MINUTES)), this.#decoded(this.#cell(SECONDS))];
    const time = Date.UTC(year, month, day, this.#decodedHour(this.#cell(HOURS)), minutes, seconds);
    this.#base = time / 1000 - Math.floor(this.#now / SECOND_NS);
  }

  // Numbers are binary, or a decimal digit a nibble.

  #coded(value: number): number {
    return (this.#cell(B) & BINARY) !== 0 ? value : Math.floor(value / 10) * 16 + (value % 10);
  }

  #decoded(value: number): number {
    return (this.#cell(B) & BINARY) !== 0 ? value : (value >> 4) * 10 + (value & 0x0f);
  }

  #codedHour(hour: number): number {
    if ((this.#cell(B) & HOURS_24) !== 0) return this.#coded(hour);
    return this.#coded(hour % 12 === 0 ? 12 : hour % 12) | (hour >= 12 ? PM : 0);
  }

  #decodedHour(value: number): number {
    if ((this.#cell(B) & HOURS_24) !== 0) return this.#decoded(value);
    return (this.#decoded(value & ~PM) % 12) + ((value & PM) !== 0 ? 12 : 0);
  }

  #cell(at: number): number {
    return this.#cells[at] as number;
  }

  /** Interrupts are off after a reset; time and settings stay (MC146818A, RESET). */
  reset(): void {
    this.#cells[B] = this.#cell(B) & ~CAUSES;
    this.#cells[C] = 0;
    this.#index = 0;
  }

  get state(): RtcState {
    return { cells: [...this.#cells], index: this.#index, base: this.#base, now: this.#now };
  }

  set state({ cells, index, base, now }: RtcState) {
    this.#cells.set(cells.slice(0, CELLS));
    this.#index = index;
    this.#base = base;
    this.#now = now;
  }
}
