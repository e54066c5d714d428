// What the host bridge keeps the processor from: areas below 1 MiB, and the memory of system management mode.

import { packState, unpackState } from '../../src/qtest/migration.ts';
import { assert, suite } from '../run/suite.ts';
import { Board } from './board.ts';

const test = suite('qtest host bridge');

const RE = 1;
const WE = 2;
const KINDS = [
  { kind: 'pc', pam: 0x59, smram: 0x72 },
  { kind: 'q35', pam: 0x90, smram: 0x9d },
] as const;
/** Each area: where it starts, its register after the first, and how far its bits are in it. */
const AREAS: readonly (readonly [start: number, register: number, shift: number])[] = [
  [0xf0000, 0, 4],
  ...Array.from({ length: 12 }, (_, i) => [0xc0000 + i * 0x4000, 1 + (i >> 1), 4 * (i & 1)] as const),
];

for (const { kind, pam, smram } of KINDS) {
  test(`290549 3.2.18 PAM on ${kind}: reads and writes of each area are enabled by themselves`, async () => {
    const board = await Board.start(`-M ${kind} -nodefaults`);
    for (const [start, register, shift] of AREAS) {
      const set = (bits: number): void => board.setConfig(0, 0, pam + register, bits << shift, 'b');
      assert.is(board.load('l', start), 0xffffffff, 'closed after power-on');
      board.do(`writel ${start} 0x11111111`);
      set(RE);
      assert.is(board.load('l', start), 0);
      board.do(`writel ${start} 0x22222222`);
      assert.is(board.load('l', start), 0, 'read-only');
      set(WE);
      board.do(`write ${start} 4 0x33333333`);
      assert.is(board.load('l', start), 0xffffffff, 'write-only');
      set(RE | WE);
      assert.is(board.load('l', start), 0x33333333);
      assert.is(board.config(0, 0, pam + register, 'b'), (RE | WE) << shift);
      set(0);
    }
  });

  test(`290549 3.2.23 SMRAM on ${kind}: A0000h to BFFFFh are RAM while it is open`, async () => {
    const board = await Board.start(`-M ${kind} -nodefaults`);
    const set = (bits: number): void => board.setConfig(0, 0, smram, bits, 'b');
    assert.is(board.config(0, 0, smram, 'b'), 0x02);
    // An access across the border gets the part that is RAM.
    board.do('writel 0x9fffe 0x44332211');
    assert.is(board.load('l', 0x9fffe), 0xffff2211);
    assert.is(board.do('read 0x9fffe 4'), '0x1122ffff');
    set(0x4a);
    assert.is(board.load('l', 0x9fffe), 0x00002211, 'what was written beyond was lost');
    board.do('memset 0x9ff00 0x20200 0x55');
    assert.is(board.load('b', 0xbffff), 0x55);
    assert.is(board.load('b', 0xc0000), 0xff);
    set(0x5a);
    assert.is(board.config(0, 0, smram, 'b'), 0x1a, 'a lock closes it');
    set(0x4a);
    assert.is(board.config(0, 0, smram, 'b'), 0x1a);
    assert.is(board.load('b', 0xbffff), 0xff);
    board.do('outb 0xcf9 6');
    set(0x4a);
    assert.is(board.load('b', 0xbffff), 0x55, 'a reset takes the lock off, and RAM stays');
  });
}

test('316966 ESMRAMC: a segment at the end of RAM is hidden, and goes along to another process', async () => {
  for (const [code, mib] of [1, 2, 8].entries()) {
    const board = await Board.start('-M q35 -nodefaults -m 64');
    const end = 64 * 2 ** 20;
    const start = end - mib * 2 ** 20;
    board.setConfig(0, 0, 0x9e, 0x39 | (code << 1), 'b');
    assert.is(board.load('b', start), 0, 'SMRAM is not enabled');
    board.setConfig(0, 0, 0x9d, 0x1a, 'b');
    board.do(`memset ${start - 1} 2 0x77`);
    assert.equal(
      [start - 1, start, end - 1].map((at) => board.load('b', at)),
      [0x77, 0xff, 0xff],
    );
    board.setConfig(0, 0, 0x9e, 0x38, 'b');
    assert.is(board.config(0, 0, 0x9e, 'b'), 0x39 | (code << 1), 'locked');
    const other = await Board.start('-M q35 -nodefaults -m 64');
    assert.is(other.load('b', start), 0);
    await unpackState(other.system, packState(board.system, true));
    assert.equal(
      [start - 1, start].map((at) => other.load('b', at)),
      [0x77, 0xff],
    );
  }
});

test('a machine without a chipset has all of its RAM', async () => {
  const board = await Board.start('-M none -m 2');
  board.do('writel 0xf0000 1');
  assert.is(board.load('l', 0xf0000), 1);
});
