// A terminal of the few control sequences that a shell, its line editor and vi use.
// Specification: ECMA-48 (5th ed.), 8.3; private strings are OSC, 8.3.89.

const ROWS = 24;
const TAB = 8;
/** Lines that are kept above the screen. */
const HISTORY = 2000;
const [BELL, BACKSPACE, ESCAPE] = ['\x07', '\b', '\x1b'];
/** An escape sequence that is longer than this is none. */
const SEQUENCE_MAX = 64;

const KEYS = {
  Enter: '\r',
  Backspace: '\x7f',
  Escape: '\x1b',
  ArrowUp: '\x1b[A',
  ArrowDown: '\x1b[B',
  ArrowRight: '\x1b[C',
  ArrowLeft: '\x1b[D',
  Home: '\x1b[H',
  End: '\x1b[F',
  Delete: '\x1b[3~',
};

export class Terminal {
  /** What a line has room for; the program at the other end has to be told. */
  columns = 80;
  rows = ROWS;
  #lines = [''];
  #row = 0;
  #column = 0;
  /** What came behind an escape character so far; null outside of a sequence. */
  #sequence = null;
  #decoder = new TextDecoder();
  #pre = document.createElement('pre');
  #input = document.createElement('textarea');
  #parts = [new Text(), document.createElement('span'), new Text()];
  #frame = 0;
  /** Whether what comes is scrolled into sight. */
  #follows = true;
  #onSend;
  #onString;

  /** `send` is given what is typed, as bytes; `string` what the guest sends as an operating system command. */
  constructor(element, { send, string }) {
    this.#onSend = send;
    this.#onString = string;
    this.#parts[1].className = 'cursor';
    this.#pre.append(...this.#parts);
    for (const [name, value] of Object.entries({
      'aria-label': 'Console: what you type goes to the guest',
      'aria-describedby': 'keys',
      autocapitalize: 'off',
      autocomplete: 'off',
      autocorrect: 'off',
      spellcheck: 'false',
    }))
      this.#input.setAttribute(name, value);
    element.append(this.#pre, this.#input);
    this.#pre.addEventListener('click', () => {
      if (getSelection()?.isCollapsed ?? true) this.focus();
    });
    // A window of another size moves what was in sight.
    new ResizeObserver(() => this.#showEnd()).observe(this.#pre);
    this.#pre.addEventListener('scrollend', () => {
      this.#follows = this.#isAtEnd();
    });
    this.#input.addEventListener('keydown', (event) => this.#keyDown(event));
    this.#input.addEventListener('input', (event) => {
      if (!event.isComposing) this.#sendInput();
    });
    this.#input.addEventListener('compositionend', () => this.#sendInput());
    this.#draw();
  }

  focus() {
    this.#input.focus({ preventScroll: true });
  }

  /** An empty screen, as wide as the element is now. */
  reset() {
    this.#lines = [''];
    this.#row = this.#column = 0;
    this.#sequence = null;
    this.columns = this.#widthInCharacters();
    this.#draw();
  }

  /** Everything on screen and above it. */
  get text() {
    return this.#lines.join('\n');
  }

  type(text) {
    this.#follows = true;
    this.#onSend(new TextEncoder().encode(text.replaceAll('\n', '\r')));
  }

  /** Bytes from the guest. */
  write(bytes) {
    for (const char of this.#decoder.decode(bytes, { stream: true })) this.#take(char);
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #widthInCharacters() {
    const probe = document.createElement('span');
    probe.textContent = '0'.repeat(100);
    this.#pre.append(probe);
    const { width } = probe.getBoundingClientRect();
    const style = getComputedStyle(this.#pre);
    const room =
      this.#pre.clientWidth - Number.parseFloat(style.paddingLeft) - Number.parseFloat(style.paddingRight);
    probe.remove();
    return Math.min(132, Math.max(32, Math.floor((100 * room) / width)));
  }

  #keyDown(event) {
    const { key, ctrlKey, altKey, metaKey, shiftKey, isComposing } = event;
    // Tab moves on in the page, and Ctrl+V is the browser's: what it pastes arrives as input.
    if (isComposing || metaKey || key === 'Tab') return;
    const isControl = ctrlKey && !altKey && !shiftKey && /^[a-z[\\\]]$/i.test(key) && key !== 'v';
    const text = isControl ? String.fromCharCode(key.charCodeAt(0) & 0x1f) : KEYS[key];
    if (text === undefined || (!isControl && ctrlKey)) return;
    event.preventDefault();
    this.type(text);
  }

  #sendInput() {
    if (this.#input.value !== '') this.type(this.#input.value);
    this.#input.value = '';
  }

  #take(char) {
    if (this.#sequence !== null) {
      this.#sequence += char;
      if (this.#sequence.length > SEQUENCE_MAX || this.#isWhole()) this.#sequence = null;
      return;
    }
    switch (char) {
      case '\r':
        this.#column = 0;
        break;
      case '\n':
        this.#moveTo(this.#row + 1, this.#column);
        break;
      case '\t':
        this.#moveTo(this.#row, this.#column + TAB - (this.#column % TAB));
        break;
      case BACKSPACE:
        this.#moveTo(this.#row, Math.min(this.#column, this.columns - 1) - 1);
        break;
      case ESCAPE:
        this.#sequence = '';
        break;
      default:
        if (char >= ' ') this.#put(char);
    }
  }

  /** Behind the last column the next character begins a line; until then the cursor stays where it is. */
  #put(char) {
    if (this.#column >= this.columns) this.#moveTo(this.#row + 1, 0);
    const line = this.#lines[this.#row].padEnd(this.#column);
    this.#lines[this.#row] = line.slice(0, this.#column) + char + line.slice(this.#column + 1);
    this.#column++;
  }

  #moveTo(row, column) {
    this.#row = Math.max(this.#top, row);
    while (this.#lines.length <= this.#row) this.#lines.push('');
    const old = this.#lines.length - HISTORY;
    if (old > 0) {
      this.#lines.splice(0, old);
      this.#row -= old;
    }
    this.#column = Math.min(this.columns - 1, Math.max(0, column));
  }

  /** The first line of the screen. */
  get #top() {
    return Math.max(0, this.#lines.length - this.rows);
  }

  /** Whether the sequence ends here; what it asks for is done then. */
  #isWhole() {
    const sequence = this.#sequence;
    if (sequence.startsWith(']')) {
      if (!sequence.endsWith(BELL)) return false;
      this.#onString(sequence.slice(1, -1));
      return true;
    }
    if (!sequence.startsWith('[')) return true;
    const [, parameters, final] = /^\[([0-?]*)[ -/]*([@-~])$/.exec(sequence) ?? [];
    if (final !== undefined) this.#control(final, parameters);
    return final !== undefined;
  }

  #control(final, parameters) {
    const [first, second] = parameters.split(';').map(Number);
    const count = Math.max(1, first || 0);
    switch (final) {
      case 'A':
        return this.#moveTo(this.#row - count, this.#column);
      case 'B':
        return this.#moveTo(Math.min(this.#row + count, this.#top + this.rows - 1), this.#column);
      case 'C':
        return this.#moveTo(this.#row, this.#column + count);
      case 'D':
        return this.#moveTo(this.#row, this.#column - count);
      case 'H':
        return this.#moveTo(this.#top + Math.min(count, this.rows) - 1, (second || 1) - 1);
      case 'J':
        if (first === 2) this.#clear(this.#top);
        else this.#eraseRight(this.#lines.splice(this.#row + 1));
        return;
      case 'K':
        this.#eraseRight();
    }
  }

  #clear(from) {
    for (let row = from; row < this.#lines.length; row++) this.#lines[row] = '';
  }

  #eraseRight() {
    this.#lines[this.#row] = this.#lines[this.#row].slice(0, this.#column);
  }

  #draw() {
    this.#frame = 0;
    const line = this.#lines[this.#row];
    const before = this.#lines.slice(0, this.#row).map((text) => `${text}\n`);
    const after = this.#lines.slice(this.#row + 1).map((text) => `\n${text}`);
    const [left, cursor, right] = this.#parts;
    left.data = before.join('') + line.slice(0, this.#column).padEnd(this.#column);
    cursor.textContent = line[this.#column] ?? ' ';
    right.data = line.slice(this.#column + 1) + after.join('');
    this.#showEnd();
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#pre;
    return scrollHeight - scrollTop - clientHeight < 40;
  }

  #showEnd() {
    if (this.#follows) this.#pre.scrollTop = this.#pre.scrollHeight;
  }
}
