// Random SCRIPTS sources: every statement of the language with operands by chance.

import type { Random } from '../../src/kernel/random.ts';

const PHASES = ['DATA_OUT', 'DATA_IN', 'CMD', 'STATUS', 'RES4', 'RES5', 'MSG_OUT', 'MSG_IN'];
const REGISTERS = [
  'SCNTL0',
  'SFBR',
  'SCRATCHA2',
  'DSA1',
  'CTEST4',
  'SCRATCHR3',
  'PMJAD2.2',
  'CSBC0',
  'REG(0x5b)',
];
const SIGNALS = ['ATN', 'ACK', 'TARGET', 'CARRY'];

export interface RandomSource {
  readonly text: string;
  readonly instructions: number;
  /** Whether it has direct moves of three words, which only a disassembler that is told so sees as such. */
  readonly long: boolean;
}

/** A source of so many instructions, some of them with labels. */
export function randomSource(random: Random, instructions: number): RandomSource {
  const maker = new Maker(random, instructions);
  const lines = Array.from({ length: instructions }, (_, i) => `l${i}: ${maker.instruction()}`);
  return { text: `${lines.join('\n')}\n`, instructions, long: maker.long };
}

class Maker {
  long = false;
  readonly #random: Random;
  readonly #labels: number;

  constructor(random: Random, labels: number) {
    this.#random = random;
    this.#labels = labels;
  }

  instruction(): string {
    return this.#one([
      () => this.#move(),
      () => this.#readWrite(),
      () => this.#transfer(),
      () => this.#io(),
      () => this.#memory(),
    ])();
  }

  #move(): string {
    const name = this.#one(['MOVE', 'CHMOV']);
    const way = `${this.#one(['WHEN', 'WITH'])} ${this.#one(PHASES)}`;
    if (this.#below(20) === 0) {
      this.long = true;
      return `${name}64 ${this.#below(2 ** 24)}, ${this.#word()}:${this.#word()}, ${way}`;
    }
    return this.#one([
      () => `${name} ${this.#below(2 ** 24)}, ${this.#word()}, ${way}`,
      () => `${name} ${this.#below(2 ** 24)}, PTR ${this.#label()}, ${way}`,
      () => `${name} FROM ${this.#offset()}, ${way}`,
    ])();
  }

  #readWrite(): string {
    const register = this.#one(REGISTERS);
    const [from, to] = this.#one([
      [register, register],
      ['SFBR', register],
      [register, 'SFBR'],
    ] as const);
    return this.#one([
      () => `MOVE ${this.#below(256)} TO ${register}`,
      () => `MOVE ${from} TO ${to}`,
      () => `MOVE ${from} ${this.#one(['SHL', 'SHR'])} TO ${to}`,
      () =>
        `MOVE ${from} ${this.#one(['|', '&', '^', '+', '-'])} ${this.#below(256)} TO ${to}`
          .replace(/- 0 /, '+ 0 ')
          .replace(/- (12[89]|1[3-9]\d|2\d\d) /, '+ $1 '),
      () => `MOVE ${from} ${this.#one(['|', '&', 'XOR', '+'])} SFBR TO ${to}`,
      () => `MOVE ${from} + ${this.#below(256)} TO ${to} WITH CARRY`,
    ])();
  }

  #transfer(): string {
    const condition = this.#condition();
    return this.#one([
      () => `${this.#one(['JUMP', 'CALL'])} ${this.#target()}${condition}`,
      () => `RETURN${condition}`,
      () => `${this.#one(['INT', 'INTFLY'])} ${this.#word()}${condition}`,
      () => `JUMP64 ${this.#word()}:${this.#word()}${condition}`,
      () => 'NOP',
    ])();
  }

  #condition(): string {
    const not = this.#below(2) === 0;
    const start = `, ${this.#one(['IF', 'WHEN'])} ${not ? 'NOT ' : ''}`;
    const data = `${this.#below(256)}${this.#below(2) === 0 ? ` AND MASK ${this.#below(256)}` : ''}`;
    return this.#one([
      '',
      `, IF ${not ? 'NOT ' : ''}CARRY`,
      start + this.#one(PHASES),
      start + data,
      `${start}${this.#one(PHASES)} ${not ? 'OR' : 'AND'} ${data}`,
    ]);
  }

  #io(): string {
    const atn = this.#one(['', 'ATN ']);
    return this.#one([
      () => `SELECT ${atn}${this.#below(16)}, ${this.#target()}`,
      () => `SELECT ${atn}FROM ${this.#offset()}, ${this.#target()}`,
      () => 'WAIT DISCONNECT',
      () => `WAIT RESELECT ${this.#target()}`,
      () => `${this.#one(['SET', 'CLEAR'])} ${this.#one(SIGNALS)} AND ${this.#one(SIGNALS)}`,
    ])();
  }

  #memory(): string {
    const count = 1 + this.#below(4);
    const register = `REG(${4 * this.#below(64) + this.#below(5 - count)})`;
    const address = this.#below(2) === 0 ? this.#word() : `DSAREL(${this.#offset()})`;
    return this.#one([
      () =>
        `MOVE MEMORY ${this.#one(['', 'NO FLUSH '])}${this.#below(2 ** 24)}, ${this.#word()}, ${this.#label()}`,
      () => `LOAD ${register}, ${count}, ${address}`,
      () => `STORE ${this.#one(['', 'NOFLUSH '])}${register}, ${count}, ${address}`,
    ])();
  }

  #target(): string {
    return this.#one([
      () => this.#word(),
      () => this.#label(),
      () => `REL(${this.#label()})`,
      () => `REL($ ${this.#one(['+', '-'])} ${this.#below(2 ** 22)})`,
    ])();
  }

  #label(): string {
    return `l${this.#below(this.#labels)}`;
  }

  #offset(): string {
    return String(this.#below(2 ** 24) - 2 ** 23);
  }

  #word(): string {
    return `0x${this.#random.next().toString(16)}`;
  }

  #below(limit: number): number {
    return this.#random.below(limit);
  }

  #one<T>(choices: readonly T[]): T {
    return choices[this.#below(choices.length)] as T;
  }
}
