// The controller over a medium of the host that answers later.

import type { AsyncMedium } from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { ata, DATA, Ide, pattern, regs } from './ide.ts';

const test = suite('piix-ide: late media');

const BUSY = ata.ATA_STATUS_BSY | ata.ATA_STATUS_GOOD;

/** Bytes that come and go in their own time. */
function lateMedium(bytes: Uint8Array): AsyncMedium {
  const later = async <T>(act: () => T): Promise<T> => {
    await new Promise((resolve) => {
      setTimeout(resolve, 1);
    });
    return act();
  };
  return {
    name: 'late',
    bytes: bytes.length,
    readOnly: false,
    sync: false,
    read: (offset, buffer) =>
      later(() => {
        buffer.set(bytes.subarray(offset, offset + buffer.length));
        return buffer.length;
      }),
    write: (offset, buffer) =>
      later(() => {
        bytes.set(buffer, offset);
        return buffer.length;
      }),
    flush: () => later(() => undefined),
    discard: (offset, length) =>
      later(() => {
        bytes.fill(0, offset, offset + length);
      }),
    close: () => later(() => undefined),
  };
}

test('PIO waits block by block, with BSY', async () => {
  const bytes = new Uint8Array(2 ** 20);
  const ide = await Ide.create({ medium: lateMedium(bytes) });
  const data = pattern(1024, 1);
  ide.send({ command: ata.ATA_WRITE_SECTORS, lba: 2, count: 2 });
  for (const at of [0, 512]) {
    ide.put(data.subarray(at, at + 512));
    assert.is(ide.alternate(), BUSY);
    await ide.machine.settleAsync();
    assert.ok(ide.irq());
    ide.read(regs.IDE_STATUS);
  }
  assert.equal(bytes.subarray(1024, 2048), data);
  ide.send({ command: ata.ATA_READ_SECTORS, lba: 2, count: 2 });
  for (const at of [0, 512]) {
    assert.is(ide.alternate(), BUSY);
    await ide.machine.settleAsync();
    assert.equal(ide.take(512), data.subarray(at, at + 512));
  }
});

test('a bus master and a medium that are late both wait for the other', async () => {
  const bytes = pattern(2 ** 20, 2);
  const ide = await Ide.create({ medium: lateMedium(bytes.slice()) });
  const task = { command: ata.ATA_READ_DMA, count: 8 };
  ide.setTable([{ address: DATA, bytes: 4096 }]);
  ide.send(task);
  await ide.machine.settleAsync();
  assert.is(ide.alternate(), BUSY);
  ide.start(true);
  await ide.machine.settleAsync();
  assert.ok(ide.irq());
  assert.ok(ide.machine.memory.equals(DATA, bytes, 0, 4096));
});

test('SRST while the medium stores: the late answer is void', async () => {
  const ide = await Ide.create({ medium: lateMedium(new Uint8Array(2 ** 20)) });
  ide.setTable([{ address: DATA, bytes: 512 }]);
  ide.send({ command: ata.ATA_WRITE_DMA, count: 1 });
  ide.start(false);
  ide.machine.advance(ide.machine.now() + 1e6);
  assert.is(ide.alternate(), BUSY);
  ide.control(regs.IDE_CONTROL_SRST);
  ide.control(0);
  await ide.machine.settleAsync();
  await ide.machine.idleMedia();
  assert.is(ide.alternate(), ata.ATA_STATUS_GOOD);
  assert.not.ok(ide.irq());
  ide.stop();
  ide.send({ command: ata.ATA_FLUSH_CACHE });
  await ide.machine.settleAsync();
  assert.ok(ide.irq());
});
