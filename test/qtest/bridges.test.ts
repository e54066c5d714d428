// Buses behind bridges: configuration by their numbers, windows, interrupts, devices that come and go.

import { assert, suite } from '../run/suite.ts';
import { Board } from './board.ts';

const test = suite('qtest bridges');

const DRIVE = '-drive if=none,format=raw,file=null-co://,id=d';
const BRIDGES = '-M q35 -nodefaults -device pcie-root-port,id=p1,addr=1 -device pcie-pci-bridge,bus=p1,id=b1';
const NVME = `${DRIVE} -device nvme,drive=d,serial=s,bus=b1,addr=3,id=n`;
const NVME_IDS = 0x00101b36;
const REGISTERS = 0xe0100000;

/** Gives the buses behind both bridges the numbers 1 and 2. */
function number(board: Board): void {
  board.setConfig(0, 1, 0x18, 0x00020100);
  board.setConfig(1, 0, 0x18, 0x00020201);
}

/** A window of memory of 1 MiB. */
function openWindow(board: Board, bus: number, slot: number, base: number): void {
  board.setConfig(bus, slot, 0x20, ((base >>> 16) | base) >>> 0);
  board.setConfig(bus, slot, 4, 6, 'w');
}

test('PCI-to-PCI 3.2: functions behind bridges answer at the numbers that software gave', async () => {
  const board = await Board.start(`${BRIDGES} ${NVME}`);
  assert.is(board.config(0, 1, 0x0e, 'b') & 0x7f, 1, 'a header of a bridge');
  assert.is(board.config(0, 1, 0x0a, 'w'), 0x0604);
  assert.is(board.config(2, 3, 0), 0xffffffff, 'no bus has a number yet');
  number(board);
  assert.is(board.config(1, 0, 0), 0x000e1b36);
  assert.is(board.config(2, 3, 0), NVME_IDS);
  assert.is(board.config(1, 3, 0), 0xffffffff);
  assert.is(board.config(0, 3, 0), 0xffffffff);
  board.setConfig(0, 1, 0x18, 0x00010100);
  assert.is(board.config(2, 3, 0), 0xffffffff, 'behind the subordinate number');
  number(board);
  board.do('outb 0xcf9 6');
  assert.is(board.config(2, 3, 0), 0xffffffff, 'a reset forgets them');
});

test('PCI-to-PCI 3.2.5.8: memory is reached through every window on the way, and not with one closed', async () => {
  const board = await Board.start(`${BRIDGES} ${NVME}`);
  number(board);
  board.setConfig(2, 3, 0x10, REGISTERS);
  board.setConfig(2, 3, 4, 6, 'w');
  const version = (): number => board.load('l', REGISTERS + 8);
  assert.is(version(), 0, 'both bridges are shut');
  openWindow(board, 0, 1, REGISTERS);
  assert.is(version(), 0, 'the second bridge is shut');
  openWindow(board, 1, 0, REGISTERS);
  assert.is(version(), 0x00010400);
  openWindow(board, 1, 0, REGISTERS + 0x100000);
  assert.is(version(), 0, 'a window beside it');
  // The prefetchable window lets it through as well.
  board.setConfig(1, 0, 0x24, ((REGISTERS >>> 16) | REGISTERS) >>> 0);
  assert.is(version(), 0x00010400);
  board.setConfig(1, 0, 0x28, 1);
  board.setConfig(1, 0, 0x2c, 1);
  assert.is(version(), 0, 'above 4 GiB');
});

test('PCI-to-PCI 3.2.5.6: ports are reached through their window', async () => {
  const board = await Board.start(
    '-M pc -nodefaults -device pci-bridge,id=b,addr=5 -device lsi53c895a,bus=b,addr=2',
  );
  board.setConfig(0, 5, 0x18, 0x00010100);
  board.setConfig(1, 2, 0x10, 0xc000);
  board.setConfig(1, 2, 4, 1, 'w');
  const dstat = (): number => Number(board.do('inb 0xc00c'));
  assert.is(dstat(), 0xff);
  board.setConfig(0, 5, 0x1c, 0xc0c0, 'w');
  board.setConfig(0, 5, 4, 1, 'w');
  assert.is(dstat(), 0x80);
  board.setConfig(0, 5, 0x1c, 0xd0d0, 'w');
  assert.is(dstat(), 0xff);
});

test('PCI-to-PCI 9.1: the number of a device turns its interrupt by as much', async () => {
  const board = await Board.start(`${BRIDGES} ${NVME}`);
  const at = (slot: number): number => board.system.board.lineOf(2 * 256 + slot * 8);
  const own = board.system.board.lineOf(8);
  assert.equal(
    [0, 1, 2, 3, 4].map((slot) => at(slot) - own),
    [0, 1, 2, -1, 0],
  );
});

test('hot plug behind bridges: a device comes at once, and goes with the next reset', async () => {
  const board = await Board.start(`${BRIDGES} ${DRIVE} -device pcie-root-port,id=p2,hotplug=off`);
  const { system } = board;
  const options = (bus: string): Map<string, string> =>
    new Map(Object.entries({ driver: 'virtio-blk-pci', drive: 'd', id: 'v', bus }));
  assert.throws(() => system.plug(options('pcie.0')), /'pcie.0' does not support hotplugging/);
  assert.throws(() => system.plug(options('p2')), /'p2' does not support hotplugging/);
  assert.throws(() => system.plug(options('p9')), /Bus 'p9' not found/);
  system.plug(options('b1'));
  number(board);
  assert.is(board.config(2, 0, 0) & 0xffff, 0x1af4);
  system.unplug('v');
  assert.is(board.config(2, 0, 0) & 0xffff, 0x1af4, 'nobody has let it go');
  system.reset(false, 'host-qmp-system-reset');
  number(board);
  assert.is(board.config(2, 0, 0), 0xffffffff);
  assert.is(system.tree.find('v'), undefined);
  // A bridge takes what is behind it along.
  await system.graph.addDrive(new Map(Object.entries({ if: 'none', id: 'd', file: 'null-co://' })));
  system.plug(options('b1'));
  system.unplug('b1');
  system.reset(false, 'host-qmp-system-reset');
  assert.equal([system.tree.find('v'), system.tree.find('b1')], [undefined, undefined]);
  assert.throws(() => system.plug(options('b1')), /Bus 'b1' not found/);
});

test('firmware is told of disks behind bridges by all that is in front of them', async () => {
  const board = await Board.start(
    `${BRIDGES} ${DRIVE} -device virtio-blk-pci,drive=d,bus=b1,addr=4,bootindex=1`,
  );
  assert.equal(board.lines('bootorder'), ['/pci@i0cf8/pci-bridge@1/pci-bridge@0/scsi@4/disk@0,0']);
});

for (const [line, message] of [
  ['-M pc -device pcie-root-port,id=p', /No 'PCIE' bus found for device 'pcie-root-port'/],
  ['-M q35 -device pci-bridge,bus=none', /Bus 'none' not found; for pci-bridge there is pcie.0/],
  ['-M q35 -device pcie-root-port,id=p,frob=1', /Property 'pcie-root-port.frob' not found/],
  ['-M q35 -device pcie-root-port,id=p,addr=1f.0', /slot 31 function 0 is in use/],
  ["-M q35 -device {'driver':'pcie-root-port','id':'p','bus':'ide.0'}", /can't go on IDE bus/],
] as const) {
  test(`refused: ${line}`, async () => {
    let said = '';
    await Board.start(line).catch((error: Error) => {
      said = error.message;
    });
    assert.match(said, message);
  });
}
