// What firmware finds: the clock and its settings, the order of booting, geometries, the configuration device.

import { packState, unpackState } from '../../src/qtest/migration.ts';
import { assert, suite } from '../run/suite.ts';
import { Board } from './board.ts';
import { Images } from './images.ts';

const test = suite('qtest firmware');
const images = new Images();
test.after(() => images.remove());

const TIME = '-rtc base=2006-06-17T16:01:21';

test('MC146818A: time is a decimal digit a nibble, or binary, and goes by the protocol', async () => {
  const board = await Board.start(TIME);
  assert.equal(
    [4, 2, 0].map((at) => board.get(at)),
    [0x16, 0x01, 0x21],
  );
  assert.equal(
    [0x32, 9, 8, 7, 6].map((at) => board.get(at)),
    [0x20, 0x06, 0x06, 0x17, 7],
  );
  board.do('clock_step 39000000000');
  assert.equal(
    [4, 2, 0].map((at) => board.get(at)),
    [0x16, 0x02, 0x00],
  );
  board.put(11, 0x06);
  assert.equal(
    [4, 2, 0].map((at) => board.get(at)),
    [16, 2, 0],
  );
  board.put(11, 0x00);
  assert.is(board.get(4), 0x84, 'the afternoon of twelve hours');
  assert.is(board.get(13), 0x80, 'the battery is full');
});

test('MC146818A: while SET is 1 nothing goes on, then from what was set', async () => {
  const board = await Board.start(TIME);
  board.put(11, 0x86);
  for (const [at, value] of [
    [0x32, 20],
    [9, 24],
    [8, 2],
    [7, 28],
    [4, 23],
    [2, 59],
    [0, 58],
  ] as const)
    board.put(at, value);
  board.do('clock_step 5000000000');
  assert.is(board.get(0), 58);
  board.put(11, 0x06);
  board.do('clock_step 3000000000');
  assert.equal(
    [8, 7, 4, 2, 0].map((at) => board.get(at)),
    [2, 29, 0, 0, 1],
    'a leap year',
  );
});

test('MC146818A: the alarm, the end of an update and the rate raise input 8 until register C is read', async () => {
  const board = await Board.start(TIME);
  board.do('irq_intercept_in ioapic');
  for (const [at, value] of [
    [1, 0x23],
    [3, 0xc0],
    [5, 0xff],
  ] as const)
    board.put(at, value);
  board.put(11, 0x22);
  board.do('clock_step 1000000000');
  assert.is(board.interrupts, '', 'it is a second too early');
  board.do('clock_step');
  assert.is(board.interrupts, '+8');
  assert.is(board.get(12) & 0xb0, 0xb0);
  assert.is(board.interrupts, '+8-8');
  assert.is(board.get(12), 0);
  board.put(11, 0x42);
  assert.is(board.do('clock_step'), '2000976563', 'a rate of 1024 Hz');
  assert.is(board.get(12), 0xc0);
});

test('boot: letters become settings; once holds until the first reset', async () => {
  const cases: readonly (readonly [line: string, first: number, then: number])[] = [
    ['', 0x1230, 0x1230],
    ['-no-fd-bootchk', 0x1231, 0x1231],
    ['-machine pc,fd-bootchk=off', 0x1231, 0x1231],
    ['-boot nda', 0x3410, 0x3410],
    ['-boot order=', 0, 0],
    ['-boot once=d -boot order=nda', 0x0300, 0x3410],
    ['-boot once=a,menu=on -M q35', 0x0100, 0x1230],
  ];
  for (const [line, first, then] of cases) {
    const board = await Board.start(line);
    const order = (): number => board.get(0x38) | (board.get(0x3d) << 8);
    assert.is(order(), first, line);
    board.system.reset(false, 'host-qmp-system-reset');
    assert.is(order(), then, `${line}, after a reset`);
    assert.is(board.item(0x0e, 2)[0], line.includes('menu') ? 1 : 0);
  }
});

/** A partition that ends at a head and a sector, as an entry of 16 bytes in a first sector. */
function table(endHead: number, endSector: number): Buffer {
  const sector = Buffer.alloc(512);
  sector.set([0x80, 1, 1, 0, 6, endHead, endSector, 0], 446);
  sector.writeUInt32LE(63, 446 + 8);
  sector.writeUInt32LE(1000, 446 + 12);
  sector.set([0x55, 0xaa], 510);
  return sector;
}

function drive(i: number, bytes: number, first?: Buffer): string {
  return `-drive if=ide,index=${i},format=raw,file=${images.raw(bytes, first)}`;
}

test('CMOS: types, tables and translations of the disks of the chipset', async () => {
  const [small, large] = [61440 * 512, 8388608 * 512];
  const entry = (c: number, h: number, s: number): number[] => {
    const cylinder = [c & 0xff, c >> 8];
    return [...cylinder, h, 0xff, 0xff, 0xc0 | (h > 8 ? 8 : 0), ...cylinder, s];
  };
  const none = await Board.start('-M pc -nodefaults');
  assert.equal(
    [0x12, 0x19, 0x1a, 0x39].map((at) => none.get(at)),
    [0, 0, 0, 0],
  );
  const blank = await Board.start(`-M pc ${drive(0, small)} ${drive(1, large)}`);
  assert.equal(
    [0x12, 0x19, 0x1a, 0x39].map((at) => blank.get(at)),
    [0xff, 47, 47, 0b0100],
  );
  assert.equal(blank.bytes(0x1b, 9), entry(60, 16, 63));
  assert.equal(blank.bytes(0x24, 9), entry(8322, 16, 63));
  // A table that was made behind a translation, one that was not, and a drive of the second bus.
  const lba = table(254, 63);
  const lines = [drive(0, small, lba), drive(1, large, table(15, 63)), drive(3, large, lba)];
  const tables = await Board.start(`-M pc ${lines.join(' ')}`);
  assert.is(tables.get(0x39), 0b01_00_00_10);
  assert.equal(tables.bytes(0x24, 9), entry(8322, 16, 63));
  const own = await Board.start(
    `-M pc -drive id=d,if=none,format=raw,file=${images.raw(small)} -device ide-hd,drive=d,cyls=480,heads=4,secs=32,bios-chs-trans=rechs`,
  );
  assert.equal(own.bytes(0x1b, 9), entry(480, 4, 32));
  assert.equal(
    [0x12, 0x39].map((at) => own.get(at)),
    [0xf0, 3],
  );
});

test('CMOS: how much RAM there is', async () => {
  const word = (board: Board, at: number): number => board.get(at) | (board.get(at + 1) << 8);
  const board = await Board.start('-m 48');
  assert.equal(
    [0x15, 0x17, 0x30, 0x34, 0x5b].map((at) => word(board, at)),
    [640, 48128, 48128, 512, 0],
  );
});

const NULL = 'if=none,format=raw,file=null-co://';

test('fw_cfg: bios-geometry and bootorder name disks as Open Firmware does', async () => {
  const drives = [0, 1, 2, 3, 4].map((i) => `-drive id=d${i},${NULL}`).join(' ');
  const board = await Board.start(
    `-M pc -nodefaults ${drives} -device lsi53c895a,addr=3,id=s -device ide-hd,drive=d0,unit=1,lcyls=10000,lheads=120,lsecs=30 ` +
      '-device scsi-hd,drive=d1,scsi-id=2,lun=1,lcyls=1,bootindex=7,id=hd ' +
      '-device virtio-blk-pci,drive=d2,addr=4,lheads=2,bootindex=0 -device nvme,drive=d3,serial=x,addr=5.1,bootindex=1 ' +
      '-device ide-cd,drive=d4,bus=ide.1,bootindex=-1',
  );
  const geometries = [
    '/pci@i0cf8/ide@1,1/drive@0/disk@1 10000 120 30',
    '/pci@i0cf8/scsi@3/channel@0/disk@2,1 1 0 0',
    '/pci@i0cf8/scsi@4/disk@0,0 0 2 0',
  ];
  assert.equal(board.lines('bios-geometry'), geometries);
  const order = [
    '/pci@i0cf8/scsi@4/disk@0,0',
    '/pci@i0cf8/pci1b36,0010@5,1/namespace@1,0',
    '/pci@i0cf8/scsi@3/channel@0/disk@2,1',
  ];
  assert.equal(board.lines('bootorder'), order);
  board.system.unplug('hd');
  board.system.reset(false, 'host-qmp-system-reset');
  assert.equal(board.lines('bootorder'), order.slice(0, 2), 'a disk that is gone');
});

test('fw_cfg: identity and how long firmware waits', async () => {
  const uuid = '4600cb32-38ec-4b2f-8acb-81c6ea54f2d8';
  const board = await Board.start(`-uuid ${uuid} -boot reboot-timeout=15,splash-time=300`);
  assert.is(board.item(0, 4).toString(), 'QEMU');
  assert.is(board.item(2, 16).toString('hex'), uuid.replaceAll('-', ''));
  assert.is(board.files().get('etc/boot-fail-wait')?.readUInt32LE(0), 15);
  assert.is(board.files().get('etc/boot-menu-wait')?.readUInt16LE(0), 300);
  const other = await Board.start('');
  assert.is(other.files().get('etc/boot-fail-wait')?.readUInt32LE(0), 0xffffffff);
  assert.not(other.files().has('etc/boot-menu-wait'));
});

test('the clock and what software wrote into its RAM go along to another process', async () => {
  const [from, to] = [await Board.start(TIME), await Board.start('')];
  from.put(0x50, 0x77);
  from.do('clock_step 60000000000');
  await unpackState(to.system, packState(from.system, true));
  assert.equal(
    [0x50, 2, 9].map((at) => to.get(at)),
    [0x77, 0x02, 0x06],
  );
});

const WRONG: readonly (readonly [line: string, message: RegExp])[] = [
  ['-boot x', /-boot: "x": up to 3 letters are possible, of a, b, c, d, n/],
  ['-boot once=abcd', /"abcd": up to 3 letters/],
  ['-boot frob=1', /there is no "frob"; there are order, once/],
  ['-boot reboot-timeout=x', /reboot-timeout is "x"; it must be a whole number/],
  ['-rtc base=tomorrow', /base is "tomorrow"; write utc or 2006/],
  ['-uuid 1', /it must be as 550e8400/],
  [
    `-drive id=d,${NULL} -device ide-hd,drive=d,bios-chs-trans=x`,
    /bios-chs-trans is "x"; there are auto, none/,
  ],
  [
    `-drive id=d,${NULL} -device ide-hd,drive=d,cyls=3`,
    /heads is "0"; it must be a whole number from 1 to 16/,
  ],
  [
    `-drive id=d,${NULL} -drive id=e,${NULL} -device ide-hd,drive=d,bootindex=1 -device ide-hd,drive=e,bootindex=1`,
    /bootindex 1 has already been used/,
  ],
];

for (const [line, message] of WRONG) {
  test(`refused: ${line}`, async () => {
    let said = '';
    await Board.start(line).catch((error: Error) => {
      said = error.message;
    });
    assert.match(said, message);
  });
}
