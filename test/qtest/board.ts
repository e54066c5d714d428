// A machine in this process, and the protocol in front of it.

import { loadModule } from '../../src/machine/index.ts';
import { readCommandLine } from '../../src/qtest/command-line.ts';
import { QtestSession } from '../../src/qtest/protocol.ts';
import { System } from '../../src/qtest/system.ts';
import { assert } from '../run/suite.ts';

let module: WebAssembly.Module | undefined;

export class Board {
  readonly system: System;
  readonly session: QtestSession;
  interrupts = '';

  constructor(system: System) {
    this.system = system;
    this.session = new QtestSession(system);
    system.listener = {
      interrupt: (input, raised) => {
        this.interrupts += `${raised ? '+' : '-'}${input}`;
      },
      event: () => {},
    };
  }

  static async start(line: string): Promise<Board> {
    module ??= await loadModule();
    const args = line.split(' ').filter((word) => word !== '');
    return new Board(await System.create(readCommandLine(args), { readText: () => '', module }));
  }

  do(command: string): string {
    const answer = this.session.execute(command).trim();
    assert.ok(answer.startsWith('OK'), `${command}: ${answer}`);
    return answer.slice(3);
  }

  /** A register of the function at a bus, slot and function. */
  config(bus: number, slot: number, at: number, letter: 'b' | 'w' | 'l' = 'l', fn = 0): number {
    this.select(bus, slot, at, fn);
    return Number(this.do(`in${letter} 0xcfc`));
  }

  setConfig(bus: number, slot: number, at: number, value: number, letter: 'b' | 'w' | 'l' = 'l'): void {
    this.select(bus, slot, at, 0);
    this.do(`out${letter} 0xcfc ${value}`);
  }

  select(bus: number, slot: number, at: number, fn: number): void {
    this.do(`outl 0xcf8 ${0x80000000 + bus * 65536 + slot * 2048 + fn * 256 + at}`);
  }

  load(letter: 'b' | 'w' | 'l', address: number): number {
    return Number(this.do(`read${letter} ${address}`));
  }

  /** A cell of the clock's RAM. */
  get(at: number): number {
    this.do(`outb 0x70 ${at}`);
    return Number(this.do('inb 0x71'));
  }

  put(at: number, value: number): void {
    this.do(`outb 0x70 ${at}`);
    this.do(`outb 0x71 ${value}`);
  }

  bytes(at: number, count: number): number[] {
    return Array.from({ length: count }, (_, i) => this.get(at + i));
  }

  /** An item of the configuration device. */
  item(number: number, bytes: number): Buffer {
    this.do(`outw 0x510 ${number}`);
    return Buffer.from(Array.from({ length: bytes }, () => Number(this.do('inb 0x511'))));
  }

  /** Its files: what each holds. */
  files(): Map<string, Buffer> {
    const count = this.item(0x19, 4).readUInt32BE(0);
    const list = this.item(0x19, 4 + 64 * count).subarray(4);
    return new Map(
      Array.from({ length: count }, (_, i) => {
        const entry = list.subarray(64 * i, 64 * i + 64);
        const name = entry.toString('latin1', 8).replace(/\0.*$/s, '');
        return [name, this.item(entry.readUInt16BE(4), entry.readUInt32BE(0))] as const;
      }),
    );
  }

  lines(file: string): string[] {
    const text = this.files().get(file)?.toString('latin1') ?? '';
    return text.replace(/\0$/, '').split('\n');
  }
}
