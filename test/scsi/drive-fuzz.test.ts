// Any command block to a drive behind a SCSI host adapter, while the host changes media: nothing traps, every command ends,
// and the drive works afterwards.

import { Random } from '../../src/kernel/random.ts';
import { assert, suite } from '../run/suite.ts';
import { mishap, plan, randomPacket } from './random-packet.ts';
import { type Opener, WAYS } from './ways.ts';

const test = suite('optical drive: fuzz');

const STEPS = 4000;
const BLOCK = 2048;
const ROOM = 0x40000;
/** Bytes of a command block by its group. */
const LENGTHS = [6, 10, 10, 0, 16, 12, 0, 0];

for (const name of ['aha1542', 'lsi53c895a']) {
  test(`${name}: every command ends`, async () => {
    const way = await (WAYS[name] as Opener)({ bytes: 32 * BLOCK });
    const { machine, drive } = way;
    const random = new Random(31);
    plan(machine, drive);
    // What is held would wait for the host, which waits for the command.
    for (let i = 0; i < 20; i++) machine.release(drive);
    const keys = new Set<number>();
    for (let i = 0; i < STEPS; i++) {
      const packet = randomPacket(random);
      // Vendor codes have no length that an adapter knows.
      const length = LENGTHS[(packet[0] ?? 0) >>> 5] ?? 0;
      if (length === 0) continue;
      const cdb = Array.from({ length }, (_, at) => packet[at] ?? 0);
      const out = cdb[0] === 0x15 || cdb[0] === 0x55;
      keys.add(way.run(cdb, out ? new Uint8Array(256) : ROOM).key);
      if (random.below(10) === 0) mishap(random, machine, drive);
      // What would be read of a DVD is more than there is room for.
      if (drive.bytes > ROOM) drive.remove();
      if (random.below(500) === 0) machine.restore(machine.save());
    }
    assert.ok(
      [0, 2, 3, 5, 6].every((key) => keys.has(key)),
      `sense keys ${[...keys].join(' ')}`,
    );
    drive.eject(true);
    drive.insert({ bytes: 4 * BLOCK });
    const ready = [0, 0, 0, 0, 0, 0];
    const said = Array.from({ length: 6 }, () => way.run(ready).key);
    assert.is(said.at(-1), 0);
  });
}
