// Every controller on RAM that somebody else has does what it does on its own: the same bytes, the same results, the
// same virtual time.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openFile, overlay, ramMedium } from '../../src/media/index.ts';
import { pattern, scratchFolder } from '../media/help.ts';
import { assert, suite } from '../run/suite.ts';
import {
  DATA,
  embedded,
  embeddedSide,
  HIGH_DATA,
  KINDS,
  machineSide,
  pieces,
  type Side,
  TestRam,
  transfer,
} from './rig.ts';

const test = suite('embed: controllers');
const folder = scratchFolder();
const DISK_BYTES = 2 ** 20;
const WRITTEN = pattern(24576, 7);

/** A write and reads of what was there and of what was written, whole and scattered; what came of it. */
function workload({ driver, memory, now, run }: Side): readonly unknown[] {
  const high = driver.limits.addressBits > 32 ? HIGH_DATA : DATA + 0x80000;
  const page = 4096;
  for (const [i, { address, bytes }] of pieces(DATA, WRITTEN.length, page).entries())
    memory.writeBytes(address, WRITTEN, i * page, bytes);
  const write = transfer('write', 100, pieces(DATA, WRITTEN.length, page));
  run(write);
  const back = transfer('read', 100, pieces(high, WRITTEN.length, page));
  const old = transfer('read', 8, [{ address: DATA + 0x40000, bytes: page }]);
  run(back);
  run(old);
  const got = pieces(high, WRITTEN.length, page).map(({ address, bytes }) =>
    memory.readBytes(address, bytes),
  );
  return [
    ...[write, back, old].map(({ status, residual }) => [status, residual]),
    now(),
    ...got,
    memory.readBytes(DATA + 0x40000, page),
  ];
}

const content = pattern(DISK_BYTES, 3);
const changed = content.slice();
changed.set(WRITTEN, 100 * 512);

for (const kind of KINDS) {
  const expected = async (): Promise<readonly unknown[]> => workload(await machineSide(kind, content));

  test(`EMB-01 ${kind} on an array does what it does on RAM of its own`, async () => {
    const ram = new TestRam();
    const board = await embedded({ kind, media: content, dma: ram.array() });
    const results = workload(embeddedSide(board, ram.memory));
    assert.equal(results, await expected());
    assert.equal(results[0], ['ok', 0]);
    assert.equal(board.disks[0]?.read(0, DISK_BYTES), changed);
    assert.equal(board.guard.findings(), []);
  });

  test(`EMB-02 ${kind} by call-backs does the same, with one call for a scatter list`, async () => {
    const ram = new TestRam();
    const board = await embedded({ kind, media: content, dma: ram.callbacks() });
    assert.equal(workload(embeddedSide(board, ram.memory)), await expected());
    assert.equal(board.disks[0]?.read(0, DISK_BYTES), changed);
    // The SCSI chip's program moves piece by piece.
    if (kind !== 'lsi53c895a') assert.is(Math.max(...ram.calls), WRITTEN.length / 4096);
  });

  test(`EMB-03 ${kind} moves between a medium of the host and either sort of RAM`, async () => {
    const file = join(folder, `${kind}.img`);
    writeFileSync(file, content);
    for (const way of ['array', 'callbacks'] as const) {
      const medium = overlay(await openFile(file, { readOnly: true }));
      const ram = new TestRam();
      const board = await embedded({ kind, media: medium, dma: ram[way]() });
      assert.equal(workload(embeddedSide(board, ram.memory)), await expected());
      assert.equal(board.disks[0]?.read(0, DISK_BYTES), changed);
      if (way === 'callbacks' && kind !== 'lsi53c895a') assert.ok(ram.calls.includes(WRITTEN.length / 4096));
      await board.close();
    }
    const medium = ramMedium(DISK_BYTES);
    medium.writev(0, [content]);
    const ram = new TestRam();
    const board = await embedded({ kind, media: [{ medium, place: 0 }], dma: ram.array() });
    assert.equal(workload(embeddedSide(board, ram.memory)), await expected());
  });
}
