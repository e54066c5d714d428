// The AHCI controller of q35 through the protocol: the ways that device tests go.

import { assert, suite } from '../run/suite.ts';
import { AhciPort, PX } from './ahci.ts';
import { Client, withClient } from './client.ts';
import { Images, pattern } from './images.ts';
import { PciDevice, Places } from './pci.ts';

const test = suite('qtest ahci');
const images = new Images();
test.after(() => images.remove());
const MIB = 2 ** 20;
const WRITE_DMA_EXT = 0x35;
const READ_DMA_EXT = 0x25;
const FLUSH = 0xe7;

function hardDisk(file: string, format = 'raw', more = ''): string[] {
  const drive = `if=none,id=drive0,file=${file},format=${format},cache=writeback${more}`;
  return ['-drive', drive, '-M', 'q35', '-device', 'ide-hd,drive=drive0'];
}

test('nothing is switched on before a client does it, and its registers are as after a reset', () =>
  withClient(hardDisk(images.raw(MIB)), async (client) => {
    const pci = new PciDevice(client, new Places(), 0x1f, 2);
    assert.is((await pci.config(4, 'w')) & ~1, 0);
    assert.is(await pci.config(0x3c, 'b'), 0);
    const { base } = await pci.map(5);
    await pci.enable();
    assert.is((await client.load('l', base + 0x100 + PX.TFD)) & 0xffff, 0x7f);
    assert.is(await client.load('l', base + 0x100 + PX.SERR), 0);
    assert.is(await client.load('l', base + 0x1000), 0, 'behind the BAR nothing is');
  }));

test('a disk on qcow2 of 200 GiB is what its options call it, and keeps bytes at its end', async () => {
  const file = await images.qcow2(200 * 2 ** 30);
  const names = ['-global', 'ide-hd.serial=testdisk', '-global', 'ide-hd.ver=version'];
  await withClient([...hardDisk(file, 'qcow2'), ...names], async (client) => {
    const port = await AhciPort.start(client);
    assert.is((await port.run({ command: 0xec })) & 1, 0);
    const identify = (await client.read(port.buffer, 512)).swap16();
    assert.is(identify.toString('latin1', 20, 40), 'testdisk            ');
    assert.is(identify.toString('latin1', 46, 54), 'version ');
    const sent = pattern(8192);
    const lba = 200 * 2 ** 21 - 16;
    await client.write(port.buffer, sent);
    assert.is((await port.run({ command: WRITE_DMA_EXT, lba, sectors: 16, write: true })) & 1, 0);
    await client.command(`memset 0x${port.buffer.toString(16)} 8192 0`);
    assert.is((await port.run({ command: READ_DMA_EXT, lba, sectors: 16 })) & 1, 0);
    assert.equal(await client.read(port.buffer, 8192), sent);
  });
});

test('an interrupt reaches the interrupt controller before the answer to the command that caused it', () =>
  withClient(hardDisk(images.raw(MIB)), async (client) => {
    const port = await AhciPort.start(client);
    await client.command('irq_intercept_in ioapic');
    await port.run({ command: READ_DMA_EXT });
    assert.equal([...client.interrupts], [16]);
    await port.set(PX.IS, 0xffffffff);
    await client.store('l', port.base - 0x100 + 8, 1);
    assert.equal(client.interruptLines, ['IRQ raise 16', 'IRQ lower 16']);
  }));

for (const { event, command, write } of [
  { event: 'flush_to_disk', command: FLUSH, write: false },
  { event: 'write_aio', command: WRITE_DMA_EXT, write: true },
  { event: 'read_aio', command: READ_DMA_EXT, write: false },
]) {
  test(`${event} fails once: the machine stops, and cont has command ${command.toString(16)}h tried again`, async () => {
    const file = `blkdebug:${images.rules(event)}:${images.raw(MIB)}`;
    await withClient(hardDisk(file, 'raw', ',rerror=stop,werror=stop'), async (client) => {
      const port = await AhciPort.start(client);
      const sent = pattern(512);
      await client.write(port.buffer, sent);
      if (command === FLUSH) await port.run({ command: WRITE_DMA_EXT, write: true });
      await port.issue({ command, write, bytes: command === FLUSH ? 0 : 512, sectors: 1 });
      const failed = await client.event('BLOCK_IO_ERROR');
      assert.is(failed.device, 'drive0');
      assert.is(failed.operation, command === READ_DMA_EXT ? 'read' : 'write');
      assert.is(failed.action, 'stop');
      await client.event('STOP');
      assert.equal(await client.run('query-status'), {
        running: false,
        singlestep: false,
        status: 'io-error',
      });
      assert.is((await port.get(PX.CI)) & 1, 1);
      assert.is((await port.get(PX.TFD)) & 0x80, 0x80, 'BSY');
      await client.run('cont');
      await client.event('RESUME');
      assert.is((await port.get(PX.CI)) & 1, 0);
      assert.is((await port.get(PX.TFD)) & 0x89, 0);
      if (!write) return;
      await port.run({ command: READ_DMA_EXT, buffer: port.buffer + 4096 });
      assert.equal(await client.read(port.buffer + 4096, 512), sent);
    });
  });
}

test('an error that is reported fails the command, and the port goes on when it was started anew', async () => {
  const file = `blkdebug:${images.rules('read_aio')}:${images.raw(MIB)}`;
  await withClient(hardDisk(file), async (client) => {
    const port = await AhciPort.start(client);
    assert.is((await port.run({ command: READ_DMA_EXT })) & 1, 1);
    assert.is((await port.run({ command: READ_DMA_EXT })) & 1, 0);
    assert.is(((await client.run('query-status')) as { running: boolean }).running, true);
  });
});

/** A machine that is running, and one that waits for its state. */
async function pair(args: (file: string) => string[], firstFile: string, file: string) {
  const uri = `unix:${images.socket()}`;
  const from = await Client.start(args(firstFile));
  const to = await Client.start([...args(file), '-incoming', uri]);
  return { from, to, uri };
}

test('state goes to a second process, which reads what the first wrote', async () => {
  const file = await images.qcow2(64 * MIB);
  const drive = (path: string): string[] => [
    '-m',
    '384',
    '-M',
    'q35',
    '-drive',
    `if=ide,format=qcow2,file=${path}`,
  ];
  const { from, to, uri } = await pair(drive, file, file);
  const port = await AhciPort.start(from);
  const sent = pattern(4096);
  await from.write(port.buffer, sent);
  await port.run({ command: 0x61, sectors: 8, write: true, queued: true });
  await from.run('migrate', { uri });
  await from.event('STOP');
  await to.event('RESUME');
  const there = port.on(to);
  assert.is(await there.get(0), await there.get(0));
  assert.equal(await to.read(port.buffer, 4096), sent, 'RAM');
  await there.run({ command: 0x60, sectors: 8, queued: true, buffer: port.buffer + 8192 });
  assert.equal(await to.read(port.buffer + 8192, 4096), sent);
  assert.equal(await from.run('query-migrate'), { status: 'completed' });
  assert.match((await from.qmp('cont')).error?.desc ?? '', /another process/);
  assert.is(await from.stop(), 0);
  assert.is(await to.stop(), 0);
});

test('a request that waits for cont goes along, and is tried again there', async () => {
  const file = images.raw(MIB);
  const drive = (path: string): string[] => hardDisk(path, 'raw', ',rerror=stop,werror=stop');
  const { from, to, uri } = await pair(drive, `blkdebug:${images.rules('write_aio')}:${file}`, file);
  const port = await AhciPort.start(from);
  const sent = pattern(4096);
  await from.write(port.buffer, sent);
  await port.issue({ command: WRITE_DMA_EXT, sectors: 8, write: true });
  await from.event('STOP');
  await from.run('migrate', { uri });
  let status = '';
  while (status !== 'completed') ({ status } = (await from.run('query-migrate')) as { status: string });
  const there = port.on(to);
  assert.is((await there.get(PX.CI)) & 1, 1);
  await to.run('cont');
  await to.event('RESUME');
  assert.is((await there.get(PX.CI)) & 1, 0);
  await there.run({ command: READ_DMA_EXT, sectors: 8, buffer: port.buffer + 8192 });
  assert.equal(await to.read(port.buffer + 8192, 4096), sent);
  await from.stop();
  await to.stop();
});

test('state that cannot be sent leaves the machine running', () =>
  withClient(hardDisk(images.raw(MIB)), async (client) => {
    await client.run('migrate', { uri: `unix:${images.socket()}` });
    let status = 'active';
    while (status === 'active') ({ status } = (await client.run('query-migrate')) as { status: string });
    assert.is(status, 'failed');
    assert.is(((await client.run('query-status')) as { running: boolean }).running, true);
    assert.match((await client.qmp('migrate', { uri: 'tcp:localhost:1' })).error?.desc ?? '', /unix:PATH/);
  }));
