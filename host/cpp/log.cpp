// SPDX-License-Identifier: MIT OR Apache-2.0
// os_log: printf with annotations in braces ("%{public}s"). As on a Mac, text is shown only where it is marked public
// (os/log.h, "Formatting Log Messages"); set WEIR_LOG_PRIVATE=1 to see all of it.

#include "runtime.h"

#include <os/log.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <DriverKit/OSString.h>

const struct os_log_s _os_log_default = {nullptr, nullptr};

namespace {

struct Conversion {
    std::string spec;  // for snprintf, without the annotation: "%-08"
    std::string_view annotation;
    std::string length;  // hh h l ll q j z t L
    char type = 0;
};

bool shown(const Conversion &conversion)
{
    static const bool all = std::getenv("WEIR_LOG_PRIVATE") != nullptr;
    const auto has = [&](std::string_view word) { return conversion.annotation.find(word) != std::string_view::npos; };
    if (all || has("public")) {
        return true;
    }
    if (has("private") || has("sensitive")) {
        return false;
    }
    // Scalars are public unless they are marked; text and objects are the other way round.
    return std::strchr("sS@P", conversion.type) == nullptr;
}

template <typename T> void print(std::string &out, const Conversion &conversion, T value)
{
    char text[512];
    const std::string format = conversion.spec + conversion.length + conversion.type;
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wformat-nonliteral"
    const int length = std::snprintf(text, sizeof text, format.c_str(), value);
#pragma clang diagnostic pop
    if (length > 0) {
        out.append(text, std::min(static_cast<size_t>(length), sizeof text - 1));
    }
}

void print_integer(std::string &out, Conversion &conversion, va_list *arguments)
{
    const std::string &length = conversion.length;
    const bool is_signed = conversion.type == 'd' || conversion.type == 'i';
    uint64_t value = 0;
    if (length == "ll" || length == "q" || length == "j" || length == "l" || length == "z" || length == "t") {
        value = va_arg(*arguments, uint64_t);
    } else if (is_signed) {
        int64_t wide = va_arg(*arguments, int);
        wide = length == "hh" ? static_cast<int8_t>(wide) : length == "h" ? static_cast<int16_t>(wide) : wide;
        value = static_cast<uint64_t>(wide);
    } else {
        value = va_arg(*arguments, unsigned);
        value = length == "hh" ? static_cast<uint8_t>(value) : length == "h" ? static_cast<uint16_t>(value) : value;
    }
    if (!shown(conversion)) {
        out += "<private>";
        return;
    }
    if (conversion.annotation.find("errno") != std::string_view::npos ||
        conversion.annotation.find("darwin.errno") != std::string_view::npos) {
        char text[128];
        out += '[';
        out += std::to_string(static_cast<int>(value));
        out += ": ";
        out += strerror_r(static_cast<int>(value), text, sizeof text);
        out += ']';
        return;
    }
    if (conversion.annotation.find("bool") != std::string_view::npos) {
        out += value != 0 ? "true" : "false";
        return;
    }
    if (conversion.annotation.find("BOOL") != std::string_view::npos) {
        out += value != 0 ? "YES" : "NO";
        return;
    }
    conversion.length = "ll";
    print(out, conversion, static_cast<unsigned long long>(value));
}

void print_string(std::string &out, const Conversion &conversion, const char *text, int precision)
{
    if (!shown(conversion)) {
        out += "<private>";
        return;
    }
    if (text == nullptr) {
        out += "(null)";
        return;
    }
    const size_t length = precision >= 0 ? strnlen(text, static_cast<size_t>(precision)) : std::strlen(text);
    // Width and left adjustment, without snprintf's limit.
    const bool left = conversion.spec.find('-') != std::string::npos;
    const char *digits = conversion.spec.c_str() + std::strspn(conversion.spec.c_str(), "%-+ #0'");
    const size_t width = std::strtoul(digits, nullptr, 10);
    const size_t padding = width > length ? width - length : 0;
    if (!left) {
        out.append(padding, ' ');
    }
    out.append(text, length);
    if (left) {
        out.append(padding, ' ');
    }
}

void print_data(std::string &out, const Conversion &conversion, const uint8_t *bytes, int precision)
{
    if (!shown(conversion)) {
        out += "<private>";
        return;
    }
    for (int i = 0; bytes != nullptr && i < precision; ++i) {
        char hex[4];
        std::snprintf(hex, sizeof hex, "%02x", bytes[i]);
        out += hex;
    }
}

// Reads one conversion after '%'; returns the character after it.
const char *parse(const char *at, Conversion &conversion, int &precision, va_list *arguments)
{
    conversion.spec = "%";
    precision = -1;
    if (*at == '{') {
        const char *end = std::strchr(at, '}');
        if (end == nullptr) {
            return at;
        }
        conversion.annotation = std::string_view(at + 1, static_cast<size_t>(end - at - 1));
        at = end + 1;
    }
    while (*at != '\0' && std::strchr("-+ #0'", *at) != nullptr) {
        conversion.spec += *at++;
    }
    if (*at == '*') {
        conversion.spec += std::to_string(va_arg(*arguments, int));
        ++at;
    }
    while (*at >= '0' && *at <= '9') {
        conversion.spec += *at++;
    }
    if (*at == '.') {
        ++at;
        precision = 0;
        if (*at == '*') {
            precision = va_arg(*arguments, int);
            ++at;
        }
        while (*at >= '0' && *at <= '9') {
            precision = precision * 10 + (*at++ - '0');
        }
        if (precision >= 0) {
            conversion.spec += '.' + std::to_string(precision);
        }
    }
    while (*at != '\0' && std::strchr("hlqjztL", *at) != nullptr) {
        conversion.length += *at++;
    }
    conversion.type = *at;
    return *at != '\0' ? at + 1 : at;
}

std::string format_message(const char *format, va_list *arguments)
{
    const int saved_errno = errno;
    std::string out;
    for (const char *at = format; *at != '\0';) {
        if (*at != '%') {
            out += *at++;
            continue;
        }
        ++at;
        if (*at == '%') {
            out += *at++;
            continue;
        }
        Conversion conversion;
        int precision = -1;
        at = parse(at, conversion, precision, arguments);
        switch (conversion.type) {
        case 'd':
        case 'i':
        case 'u':
        case 'x':
        case 'X':
        case 'o':
            print_integer(out, conversion, arguments);
            break;
        case 'D':
        case 'U':
        case 'O':
            conversion.length = "l";
            conversion.type = static_cast<char>(conversion.type + ('a' - 'A'));
            print_integer(out, conversion, arguments);
            break;
        case 'c': {
            const int value = va_arg(*arguments, int);
            out += static_cast<char>(value);
            break;
        }
        case 'p': {
            conversion.length.clear();
            print(out, conversion, va_arg(*arguments, void *));
            break;
        }
        case 'a':
        case 'A':
        case 'e':
        case 'E':
        case 'f':
        case 'F':
        case 'g':
        case 'G':
            if (conversion.length == "L") {
                print(out, conversion, va_arg(*arguments, long double));
            } else {
                conversion.length.clear();
                print(out, conversion, va_arg(*arguments, double));
            }
            break;
        case 's':
            print_string(out, conversion, va_arg(*arguments, const char *), precision);
            break;
        case 'P':
            print_data(out, conversion, va_arg(*arguments, const uint8_t *), precision);
            break;
        case '@': {
            const auto *string = OSDynamicCast(OSString, va_arg(*arguments, OSObject *));
            print_string(out, conversion, string != nullptr ? string->getCStringNoCopy() : nullptr, -1);
            break;
        }
        case 'm': {
            char text[128];
            out += strerror_r(saved_errno, text, sizeof text);
            break;
        }
        default:
            // What follows cannot be trusted any more: the argument's size is unknown.
            out += "<bad format>";
            return out;
        }
    }
    errno = saved_errno;
    return out;
}

} // namespace

extern "C" os_log_t os_log_create(const char *subsystem, const char *category)
{
    // Lives as long as the process, as on a Mac.
    return new os_log_s{strdup(subsystem != nullptr ? subsystem : ""), strdup(category != nullptr ? category : "")};
}

extern "C" bool os_log_type_enabled(os_log_t, os_log_type_t) { return true; }

extern "C" void _os_log_vwrite(os_log_t log, os_log_type_t type, const char *format, va_list arguments)
{
    va_list copy;
    va_copy(copy, arguments);
    std::string text = format_message(format, &copy);
    va_end(copy);
    while (!text.empty() && text.back() == '\n') {
        text.pop_back();
    }
    dk_log(type, log != nullptr ? log->subsystem : nullptr, text.data(), text.size());
}

extern "C" void _os_log_write(os_log_t log, os_log_type_t type, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    _os_log_vwrite(log, type, format, arguments);
    va_end(arguments);
}

extern "C" int IOLogv(const char *format, va_list ap)
{
    _os_log_vwrite(OS_LOG_DEFAULT, OS_LOG_TYPE_DEFAULT, format, ap);
    return 0;
}

extern "C" int IOLog(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    IOLogv(format, arguments);
    va_end(arguments);
    return 0;
}
