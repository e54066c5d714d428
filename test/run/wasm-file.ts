// Reads the few facts about a WebAssembly module that its JavaScript interface does not tell.
// [1] WebAssembly Core Specification 2.0, section 5.5, binary format of modules

export interface WasmFacts {
  /** Globals that code can change, imported ones included: state that a snapshot of the memory would miss. */
  mutableGlobals: number;
  /** Address behind the last byte of static data. */
  dataEnd: number;
}

const IMPORT_SECTION = 2;
const GLOBAL_SECTION = 6;
const DATA_SECTION = 11;
const OP_I32_CONST = 0x41;
const OP_END = 0x0b;

class Reader {
  at = 0;
  constructor(private readonly bytes: Uint8Array) {}

  get done(): boolean {
    return this.at >= this.bytes.length;
  }

  byte(): number {
    const value = this.bytes[this.at++];
    if (value === undefined) throw new Error('module ends too early');
    return value;
  }

  /** LEB128, unsigned (values here stay below 2³²). */
  number(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  slice(length: number): Reader {
    const part = new Reader(this.bytes.subarray(this.at, this.at + length));
    this.at += length;
    return part;
  }

  skip(length: number): void {
    this.at += length;
  }

  /** A constant expression; returns the value of an i32.const and NaN for anything else. */
  constant(): number {
    const value = this.byte() === OP_I32_CONST ? this.number() : Number.NaN;
    while (this.byte() !== OP_END);
    return value;
  }

  limits(): void {
    const hasMaximum = (this.byte() & 1) !== 0;
    this.number();
    if (hasMaximum) this.number();
  }
}

function countMutableImports(section: Reader): number {
  let mutable = 0;
  for (let left = section.number(); left > 0; left--) {
    section.skip(section.number());
    section.skip(section.number());
    const kind = section.byte();
    if (kind === 0) section.number();
    else if (kind === 1) {
      section.byte();
      section.limits();
    } else if (kind === 2) section.limits();
    else {
      section.byte();
      mutable += section.byte();
    }
  }
  return mutable;
}

function countMutableGlobals(section: Reader): number {
  let mutable = 0;
  for (let left = section.number(); left > 0; left--) {
    section.byte();
    mutable += section.byte();
    section.constant();
  }
  return mutable;
}

function endOfData(section: Reader): number {
  let end = 0;
  for (let left = section.number(); left > 0; left--) {
    if (section.number() !== 0) throw new Error('only active data segments of memory 0 are expected');
    const offset = section.constant();
    const length = section.number();
    section.skip(length);
    end = Math.max(end, offset + length);
  }
  return end;
}

export function wasmFacts(bytes: Uint8Array): WasmFacts {
  const reader = new Reader(bytes);
  reader.skip(8);
  const facts: WasmFacts = { mutableGlobals: 0, dataEnd: 0 };
  while (!reader.done) {
    const id = reader.byte();
    const section = reader.slice(reader.number());
    if (id === IMPORT_SECTION) facts.mutableGlobals += countMutableImports(section);
    else if (id === GLOBAL_SECTION) facts.mutableGlobals += countMutableGlobals(section);
    else if (id === DATA_SECTION) facts.dataEnd = endOfData(section);
  }
  return facts;
}
