// What the assembler makes of a source.

/** A place in a word that a value goes to: `bits` of them, `shift` up. */
export interface Patch {
  /** Index of the word. */
  readonly at: number;
  readonly shift: number;
  readonly bits: number;
}

/** A symbol whose value the one who loads the program knows. */
export interface Unresolved {
  /** `external`: EXTERNAL declares it. `relative`: RELATIVE does, `value` counts from a base of the loader's. */
  readonly kind: 'external' | 'relative';
  readonly value: number;
  readonly uses: readonly Patch[];
}

export interface SourceLine {
  readonly line: number;
  /** First word, and how many the line made. */
  readonly at: number;
  readonly words: number;
}

export interface ScriptsProgram {
  readonly file: string;
  /** The program as if it lay at address 0, what is unresolved taken as 0. */
  readonly words: Uint32Array;
  /** Where the host may start it: offset in bytes of what ENTRY and PROC name. */
  readonly entries: Readonly<Record<string, number>>;
  /** Offset in bytes of every label. */
  readonly labels: Readonly<Record<string, number>>;
  /** What ABSOLUTE declares, with the words where it is used. */
  readonly absolutes: Readonly<Record<string, { readonly value: number; readonly uses: readonly number[] }>>;
  readonly unresolved: Readonly<Record<string, Unresolved>>;
  /** Words that hold an address in the program: the loader adds where the program lies. */
  readonly relocations: readonly number[];
  /** Words that hold a distance in the program: they stay as they are. */
  readonly relatives: readonly number[];
  /** Words that hold a distance from DSA, and the symbol that was written for it. */
  readonly tableOffsets: readonly { readonly at: number; readonly offset: number; readonly name: string }[];
  /** What PASS hands through. */
  readonly pass: readonly string[];
  readonly lines: readonly SourceLine[];
}
