// What is wrong with a source: all of it in one go, up to a bound.

export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface Problem extends Place {
  readonly file: string;
  readonly message: string;
}

const PROBLEMS_MAX = 50;

/** A source that cannot be assembled; the message has a line for each problem: `file:line:column: what`. */
export class ScriptsError extends Error {
  override readonly name = 'ScriptsError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[], more: number) {
    const lines = problems.map(({ file, line, column, message }) => `${file}:${line}:${column}: ${message}`);
    if (more > 0) lines.push(`and ${more} more`);
    super(lines.join('\n'));
    this.problems = problems;
  }
}

/** Collects problems of one file. */
export class Problems {
  readonly #file: string;
  readonly #list: Problem[] = [];
  #more = 0;

  constructor(file: string) {
    this.#file = file;
  }

  add({ line, column }: Place, message: string): void {
    if (this.#list.length === PROBLEMS_MAX) this.#more++;
    else this.#list.push({ file: this.#file, line, column, message });
  }

  /** Throws ScriptsError if there was any, in the order of the lines. */
  throwIfAny(): void {
    if (this.#list.length === 0) return;
    this.#list.sort((a, b) => a.line - b.line || a.column - b.column);
    throw new ScriptsError(this.#list, this.#more);
  }
}

/** Thrown inside a statement, and caught where the next one begins. */
export class StatementError extends Error {
  constructor(
    readonly place: Place,
    message: string,
  ) {
    super(message);
  }
}

/** `; did you mean "SCNTL1"?` where one of `known` is near. */
export function nearest(wrong: string, known: readonly string[]): string {
  let best = '';
  let least = Number.POSITIVE_INFINITY;
  for (const name of known) {
    const steps = distance(wrong.toUpperCase(), name.toUpperCase());
    // Of two letters any two names differ in at most two.
    const most = name.length < 3 ? 0 : Math.ceil(name.length / 3);
    if (steps > most || steps >= least) continue;
    best = name;
    least = steps;
  }
  return best === '' ? '' : `; did you mean "${best}"?`;
}

/** Letters to add, remove or replace to make one of the other (Levenshtein). */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, i) => i);
  for (let i = 0; i < one.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < other.length; j++) {
      const replaced = (row[j] ?? 0) + (one[i] === other[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}
