// The order of logits: keys that rise with them, in which all that pick.comp does not choose is 0.

// Of the bits of a float; 0: NaN and minus infinity. Plus infinity is the largest number, and there is one zero.
uint key_of_bits(uint bits)
{
    uint key = bits ^ (uint(int(bits) >> 31) | 0x80000000);
    key += uint(key == 0x7fffffff);
    return key - 0x00800000 > 0xff000000 ? 0 : min(key, 0xff7fffff);
}

uint bits_of_key(uint key)
{
    return key > 0x7fffffff ? key ^ 0x80000000 : ~key;
}

// Of a token, given the word with its bit; 0 if it is not allowed.
uint allowed_key(uint id, uint bits, uint word)
{
    return (word >> id % 32 & 1) != 0 ? key_of_bits(bits) : 0;
}
