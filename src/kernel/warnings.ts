// What a kernel would print with WARN(): it goes on, but somebody should know.

/** One mistake, folded by rule and place. */
export interface Warning {
  /** Id of the rule, as in the specification or the guard's table. */
  readonly rule: string;
  readonly what: string;
  readonly where: string;
  /** Virtual time in nanoseconds of the first occurrence. */
  readonly since: number;
  /** How often it was seen. */
  readonly count: number;
}

export class Warnings {
  /** Called on every occurrence, for a tracer. */
  onWarning: ((warning: Warning) => void) | null = null;

  private readonly byPlace = new Map<string, { -readonly [key in keyof Warning]: Warning[key] }>();
  private readonly now: () => number;

  /** @param now the virtual clock */
  constructor(now: () => number) {
    this.now = now;
  }

  /** All so far, in the order in which they first occurred. */
  get all(): readonly Warning[] {
    return [...this.byPlace.values()];
  }

  warn(rule: string, what: string, where: string): void {
    const place = `${rule}\n${where}`;
    let warning = this.byPlace.get(place);
    if (warning === undefined) {
      warning = { rule, what, where, since: this.now(), count: 0 };
      this.byPlace.set(place, warning);
    }
    warning.count++;
    this.onWarning?.(warning);
  }
}
