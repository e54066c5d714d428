// NVMe, virtio-blk and LSI through the protocol.

import { assert, suite } from '../run/suite.ts';
import { withClient } from './client.ts';
import { Images, pattern } from './images.ts';
import { PciDevice, Places } from './pci.ts';
import { VirtioDisk } from './virtio.ts';

const test = suite('qtest devices');
const images = new Images();
test.after(() => images.remove());
const MIB = 2 ** 20;
const NULL_DRIVE = ['-drive', 'id=drv0,if=none,file=null-co://,file.read-zeroes=on,format=raw'];

function nvme(properties: string): string[] {
  return ['-M', 'pc', ...NULL_DRIVE, '-device', `nvme,addr=04.0,drive=drv0,serial=foo${properties}`];
}

test('NVMe says what public tests look for: 2048 entries, pages up to 64 KiB', () =>
  withClient(nvme(''), async (client) => {
    const pci = new PciDevice(client, new Places(), 4);
    await pci.enable();
    const { base } = await pci.map(0);
    const [low, high] = [await client.load('l', base), await client.load('l', base + 4)];
    assert.is(low & 0xffff, 0x7ff);
    assert.is((high >>> 20) & 15, 4);
    assert.is(
      await client.command(`readq 0x${base.toString(16)}`),
      `OK 0x${high.toString(16).padStart(8, '0')}${low.toString(16).padStart(8, '0')}`,
    );
  }));

test('a controller memory buffer of 2 MiB holds bytes, up to its end and not beyond', () =>
  withClient(nvme(',cmb_size_mb=2'), async (client) => {
    const pci = new PciDevice(client, new Places(), 4);
    await pci.enable();
    const { base, bytes } = await pci.map(2);
    assert.is(bytes, 2 * MIB);
    await client.store('l', base, 0xccbbaa99);
    assert.is(await client.load('w', base), 0xaa99);
    await client.store('l', base + bytes - 1, 0x44332211);
    assert.is(await client.load('b', base + bytes - 1), 0x11);
    assert.is(await client.load('l', base + bytes - 1), 0x11);
  }));

test('a persistent memory region is there while it is enabled', () =>
  withClient(
    [...nvme(',pmrdev=pmr0'), '-object', 'memory-backend-ram,id=pmr0,share=on,size=8'],
    async (client) => {
      const pci = new PciDevice(client, new Places(), 4);
      await pci.enable();
      const memory = (await pci.map(4)).base;
      const { base } = await pci.map(0);
      await client.store('l', memory, 0x44332211);
      assert.is.not(await client.load('l', memory), 0x44332211);
      await client.store('l', base + 0xe04, 1);
      await client.store('l', memory, 0x44332211);
      assert.is(await client.load('l', memory), 0x44332211);
      await client.store('l', base + 0xe04, 0);
      assert.is.not(await client.load('l', memory), 0x44332211);
    },
  ));

const VIRTIO = ['-M', 'pc', '-device', 'virtio-blk-pci,id=drv0,drive=drive0,addr=4.0'];
const SECOND = ['-drive', 'if=none,id=drive1,file=null-co://,file.read-zeroes=on,format=raw'];

test('virtio-blk writes and reads by its legacy interface, and hears of a new size', () =>
  withClient(
    [...VIRTIO, '-drive', `if=none,id=drive0,file=${images.raw(64 * MIB)},format=raw,auto-read-only=off`],
    async (client) => {
      const disk = await VirtioDisk.start(client, 4);
      assert.is(await disk.capacity(), (64 * MIB) / 512);
      const sent = pattern(512);
      assert.is(await disk.request(1, 3, sent), 0);
      assert.is(await disk.isr(), 1);
      assert.is(await disk.request(0, 3, Buffer.alloc(512)), 0);
      assert.equal(await disk.data(512), sent);
      await disk.isr();
      await client.run('block_resize', { device: 'drive0', size: 32 * MIB });
      assert.is((await disk.isr()) & 2, 2);
      assert.is(await disk.capacity(), (32 * MIB) / 512);
      await client.run('block_resize', { device: 'drive0', size: 128 * MIB });
      assert.is(await disk.capacity(), (128 * MIB) / 512);
    },
  ));

test('MSI-X is a write to the address that software chose: ordinary memory', () =>
  withClient(
    [...VIRTIO, '-drive', `if=none,id=drive0,file=${images.raw(MIB)},format=raw`],
    async (client) => {
      const disk = await VirtioDisk.start(client, 4, true);
      await disk.request(1, 0, pattern(512));
      assert.is(await client.load('l', disk.message), 0xbeef);
    },
  ));

test('a disk is plugged into slot 6, and unplugged when software lets it go', () =>
  withClient(
    [...VIRTIO, '-drive', 'if=none,id=drive0,file=null-co://,format=raw', ...SECOND],
    async (client) => {
      const pci = new PciDevice(client, new Places(), 6);
      assert.is(await pci.config(0), 0xffffffff);
      await client.run('device_add', { driver: 'virtio-blk-pci', id: 'drv1', addr: '6.0', drive: 'drive1' });
      assert.is(await pci.config(0), 0x10011af4);
      assert.match(
        (await client.qmp('device_add', { driver: 'virtio-blk-pci', id: 'x', addr: '6.0', drive: 'drive0' }))
          .error?.desc ?? '',
        /in use/,
      );
      await client.run('device_del', { id: 'drv1' });
      assert.is(await pci.config(0), 0x10011af4, 'until the eject register is written');
      await client.out('l', 0xae08, 1 << 6);
      assert.equal(await client.event('DEVICE_DELETED'), {
        device: 'drv1',
        path: '/machine/peripheral/drv1',
      });
      assert.is(await pci.config(0), 0xffffffff);
      await client.run('device_del', { id: 'drv0' });
      await client.run('system_reset');
      assert.is((await client.event('DEVICE_DELETED')).device, 'drv0', 'or the machine is reset');
    },
  ));

test('the LSI chip takes sized and unaligned accesses, by ports and by memory', () =>
  withClient(
    [
      '-M',
      'q35',
      '-m',
      '2G',
      '-nodefaults',
      '-device',
      'lsi53c895a,id=scsi',
      '-device',
      'scsi-hd,drive=disk0',
      '-drive',
      'file=null-co://,id=disk0,if=none,format=raw',
    ],
    async (client) => {
      const pci = new PciDevice(client, new Places(), 1);
      const io = (await pci.map(0)).base;
      const { base } = await pci.map(1);
      await pci.enable();
      await client.store('l', base + 0x34, 0x11223344);
      assert.equal(await client.read(base + 0x34, 4), Buffer.from('44332211', 'hex'));
      await client.out('w', io + 0x35, 0x7788);
      assert.is(await client.load('l', base + 0x34), 0x11778844);
      await client.write(0x69736c00, Buffer.from('0000089842000000', 'hex'));
      await client.store('l', base + 0x2c, 0x69736c00);
      assert.is((await client.load('b', base + 0x0c)) & 4, 4, 'the program below 2 GiB has run to its INT');
    },
  ));

test('a scsi disk is taken away at once, one of IDE not at all', () =>
  withClient(
    ['-M', 'pc', '-device', 'lsi53c810', ...NULL_DRIVE, '-device', 'scsi-hd,drive=drv0,id=d,scsi-id=3'],
    async (client) => {
      assert.match(
        (await client.qmp('device_add', { driver: 'ide-cd', id: 'c' })).error?.desc ?? '',
        /does not support hotplugging/,
      );
      await client.run('device_del', { id: 'd' });
      assert.is((await client.event('DEVICE_DELETED')).device, 'd');
      assert.is((await client.qmp('device_del', { id: 'd' })).error?.class, 'DeviceNotFound');
    },
  ));
